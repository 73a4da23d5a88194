"""Single sign-on by OpenID Connect: sign-in on the page, and bearer tokens of the issuer.

Authlib speaks the protocol and joserfc verifies signatures; ours are users, sessions and roles.
Only this module and ``configuration`` are imported where single sign-on is off.
"""
