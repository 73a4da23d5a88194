// A provider for the tests: oidc-provider, which is OpenID Certified. Its settings are the JSON of
// the first argument. People, the clock and lifetimes are in a file, which is read each time.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(process.argv[2]);
const require = createRequire(`${settings.modules}/`);
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

// Tokens are dated by the provider's clock, which may be wrong.
const state = () => JSON.parse(readFileSync(settings.state, "utf8"));
const now = Date.now;
Date.now = () => now() + state().skew * 1000;

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: settings.keys },
  cookies: { keys: ["only-for-tests"] },
  pkce: { required: () => true },
  scopes: ["openid", "offline_access", "profile", "email"],
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "given_name", "family_name", "groups"],
    email: ["email", "email_verified"],
  },
  ttl: { AccessToken: () => state().seconds, IdToken: () => state().seconds },
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed("refresh_token"),
  findAccount: async (ctx, sub) => {
    const person = state().people[sub];
    return person && { accountId: sub, claims: async () => ({ sub, ...person }) };
  },
  // Claims of access tokens, as large providers have them.
  extraTokenClaims: async (ctx, token) => state().people[token.accountId],
  // Everybody agrees to everything.
  loadExistingGrant: async (ctx) => {
    const grant = new provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid offline_access profile email");
    grant.addResourceScope(settings.audience, "openid offline_access profile email");
    await grant.save();
    return grant;
  },
  features: {
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // Programs get a token for the API, and the page one for the user information.
      defaultResource: (ctx, client) =>
        client.grantTypes.includes("urn:ietf:params:oauth:grant-type:device_code")
          ? settings.audience
          : undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "openid offline_access profile email",
        audience: settings.audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: state().seconds,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
provider.use(async (ctx, next) => {
  await next();
  // A second in place of the five that RFC 8628 has.
  if (ctx.oidc?.route === "device_authorization" && ctx.status === 200) ctx.body.interval = 1;
});
provider.on("server_error", (ctx, error) => console.error(error));
provider.listen(settings.port, "127.0.0.1", () => console.log("listening"));
