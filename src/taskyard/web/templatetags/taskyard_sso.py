"""Template tags of the log-in page: whether there are passwords and single sign-on."""

from django import template

from taskyard.accounts.oidc import configuration

register = template.Library()


@register.simple_tag
def sso_name() -> str:
    """The name of the provider; empty without single sign-on."""
    return configuration.page_name()


@register.simple_tag
def has_passwords() -> bool:
    """Whether people may log in with a password."""
    return configuration.passwords_are_on()
