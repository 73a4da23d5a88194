"""Headers that a browser application of another origin may send and read."""

REQUEST_HEADERS = (
    "accept",
    "accept-language",
    "authorization",
    "cache-control",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "on-behalf-of",
    "prefer",
    "x-request-id",
    "x-requested-with",
)
# Browsers hide all other response headers, apart from a few such as Content-Type.
ANSWER_HEADERS = (
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
