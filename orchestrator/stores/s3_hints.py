"""Hints for calls that a store refuses: by error code, or by HTTP status if there is no code."""

FULL = "the store's quota is used up: prune, or ask for a larger one"
NO_MD5 = "its ETags are not MD5s, though it does not report the bucket as encrypted"
NEVER_TWICE = f"nothing is ever overwritten; if the object is new: {NO_MD5}"
NO_S3 = (
    "is 'endpoint' only the address of the S3 API, without a path such as /v1/AUTH_…, and 'region' correct?"
)
NO_ANSWER = "does a login page or a proxy answer instead, or is 'endpoint' not the address of the S3 API?"
_ELSEWHERE = f"the request is redirected: {NO_ANSWER}"
HINTS = {
    "SignatureDoesNotMatch": "access_key or secret_key in the credentials file is wrong",
    "InvalidAccessKeyId": "access_key in the credentials file is wrong",
    "AccessDenied": "these credentials lack the permission for this",
    "403": "these credentials are wrong, or lack the permission for this",
    "NoSuchBucket": "the bucket does not exist: is it mistyped? The first run creates it",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "413": FULL,
    "EntityTooLarge": FULL,
    "InvalidObjectState": "the provider moved it to an archive storage class: restore it from there first",
    "507": "the store is full",
    "AuthorizationHeaderMalformed": "the store is in another region: set 'region'",
    "InvalidRegion": "the store is in another region: set 'region'",
    "PermanentRedirect": "the bucket is at another address, or in another region: set 'endpoint', 'region'",
    "SecondLevelDomainForbidden": "this store needs the bucket in the host name: set 'path_style: false'",
    "MissingContentLength": "a proxy in front of the store removes the Content-Length: bypass it",
    **dict.fromkeys(("301", "302", "307", "308"), _ELSEWHERE),
    "401": "the credentials are wrong, or this is not an S3 API",
    "QuotaExceeded": FULL,
    "411": "a proxy in front of the store removes the Content-Length: bypass it",
    "405": "the store, or a proxy in front of it, does not allow this call",
    "501": "the store does not support this call, or one of its headers",
}
