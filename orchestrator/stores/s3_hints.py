"""What to do when a store refuses a call: by its code, or by the status where it gives none."""

FULL = "the store's quota is used up: prune, or ask for a larger one"
NO_MD5 = "its ETags are no MD5s, and it does not say that it encrypts the bucket"
NEVER_TWICE = f"nothing is ever overwritten; if the object is new: {NO_MD5}"
NO_S3 = (
    "is 'endpoint' the S3 API's address alone, without a path such as /v1/AUTH_…, and 'region' the store's?"
)
NO_ANSWER = "does a login page or a proxy answer in its place, or is 'endpoint' not the S3 API's address?"
_ELSEWHERE = f"the request is sent elsewhere: {NO_ANSWER}"
HINTS = {
    "SignatureDoesNotMatch": "access_key or secret_key in the credentials file is wrong",
    "InvalidAccessKeyId": "access_key in the credentials file is wrong",
    "AccessDenied": "these credentials may not do this",
    "403": "these credentials may not do this, or they are wrong",
    "NoSuchBucket": "the bucket is not there: is it mistyped? The first run makes it",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "413": FULL,
    "EntityTooLarge": FULL,
    "InvalidObjectState": "the provider moved it to an archive class: have it brought back there first",
    "507": "the store is full",
    "AuthorizationHeaderMalformed": "the store's region is another one: set 'region'",
    "InvalidRegion": "the store's region is another one: set 'region'",
    "PermanentRedirect": "the bucket is at another address, or in another region: set 'endpoint', 'region'",
    "SecondLevelDomainForbidden": "this store wants the bucket in the host's name: set 'path_style: false'",
    "MissingContentLength": "a proxy before the store takes the request's length away: go past it",
    **dict.fromkeys(("301", "302", "307", "308"), _ELSEWHERE),
    "401": "the credentials are wrong, or this is no S3",
    "QuotaExceeded": FULL,
    "411": "a proxy before the store takes the request's length away: go past it",
    "405": "the store, or a proxy before it, does not allow this call",
    "501": "the store does not know this call, or a header of it",
}
