"""What a broker's URL says, and which are refused."""

import pytest

from taskyard.core.redis_url import parse


def test_a_certificate_is_checked_unless_the_url_says_otherwise() -> None:
    assert parse("redis://host").tls is None
    for url in ("rediss://host", "rediss://host?ssl_cert_reqs=CERT_REQUIRED"):
        assert parse(url).celery_tls() == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert parse("rediss://host?ssl_cert_reqs=none").connection()["ssl_check_hostname"] is False
    assert parse("rediss://host?ssl_ca_certs=/ca.pem").connection()["ssl_ca_certs"] == "/ca.pem"


def test_it_is_the_same_for_celery() -> None:
    said = parse("rediss://user:p%40ss%2F@[::1]:6380/3?ssl_cert_reqs=none")
    assert (said.username, said.password, said.database) == ("user", "p@ss/", 3)
    assert said.celery_url() == "rediss://user:p%40ss%2F@[::1]:6380/3"


def test_sentinels_lead_to_the_primary() -> None:
    said = parse("sentinel://:pw@a:1;sentinel://b/2?master_name=main&sentinel_password=s")
    assert said.servers == (("a", 1), ("b", 26379))
    assert said.connection() == {"username": None, "password": "pw", "db": 2}
    assert said.celery_url() == "sentinel://:pw@a:1/2;sentinel://:pw@b:26379/2"
    assert said.celery_options() == {
        "master_name": "main",
        "sentinel_kwargs": {"username": None, "password": "s"},
    }


@pytest.mark.parametrize(
    "url",
    [
        "amqp://secret@host",
        "redis://host:secret",
        "redis://:se/cret@host",
        "redis://host/secret",
        "redis://host?ssl_ca_certs=/secret",
        "redis://a;redis://secret",
        "rediss://host?ssl_cert_reqs=secret",
        "rediss://host?timeout=secret",
        "sentinel://secret",
        "sentinel://a/1;sentinel://secret/2?master_name=main",
        "redis://[secret",
    ],
)
def test_any_other_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*secret).+$"):
        parse(url)
