// A file of its own, so that a content security policy need not allow scripts in the page.
SwaggerUIBundle({
  url: document.getElementById("docs").dataset.schema,
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  // The validator badge would ask a server elsewhere.
  validatorUrl: null,
});
