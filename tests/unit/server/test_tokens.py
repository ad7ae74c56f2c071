import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from netra_apex.errors import Unauthenticated
from netra_apex.server.tokens import AccessTokens, Claims, hash_token, new_token

SECRET = "a secret that is long enough for HS256, and more"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CLAIMS = Claims("ada", "ses_1", NOW + timedelta(seconds=900))


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def refused(token, now=NOW):
    with pytest.raises(Unauthenticated) as caught:
        AccessTokens(SECRET).read(token, now)
    return str(caught.value)


def test_a_token_says_who_in_which_login_until_when():
    tokens = AccessTokens(SECRET)
    assert tokens.read(tokens.issue(CLAIMS, NOW), NOW) == CLAIMS


def test_a_token_carries_no_permissions():
    payload = AccessTokens(SECRET).issue(CLAIMS, NOW).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims.keys() == {"sub", "sid", "iat", "exp"}


def test_a_token_is_refused_from_its_expiry_on():
    token = AccessTokens(SECRET).issue(CLAIMS, NOW)
    AccessTokens(SECRET).read(token, CLAIMS.expires_at - timedelta(milliseconds=1))
    assert "expired" in refused(token, CLAIMS.expires_at)


def test_a_token_that_is_signed_with_another_key_is_refused():
    refused(AccessTokens(SECRET + "!").issue(CLAIMS, NOW))


def test_a_token_without_signature_is_refused():
    payload = AccessTokens(SECRET).issue(CLAIMS, NOW).split(".")[1]
    for name in ("none", "None", "NONE", "HS256"):
        refused(f"{part({'alg': name, 'typ': 'JWT'})}.{payload}.")


def test_a_token_that_is_signed_with_another_algorithm_is_refused():
    claims = {"sub": "ada", "sid": "ses_1", "iat": NOW.timestamp(), "exp": NOW.timestamp() + 900}
    key = OctKey.import_key(SECRET)
    refused(jwt.encode({"alg": "HS512"}, claims, key, algorithms=["HS512"]))


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": "ada", "sid": "ses_1", "iat": 0},
        {"sub": "ada", "sid": "ses_1", "iat": 0, "exp": None},
        {"sub": "ada", "sid": "ses_1", "iat": 0, "exp": "tomorrow"},
        {"sub": "ada", "sid": "ses_1", "iat": 0, "exp": 1e300},
        {"sub": ["ada"], "sid": "ses_1", "iat": 0, "exp": 4e9},
        {"sub": "ada", "iat": 0, "exp": 4e9},
    ],
)
def test_a_signed_token_with_other_claims_is_refused(claims):
    refused(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"]))


def test_a_changed_token_is_refused():
    header, payload, signature = AccessTokens(SECRET).issue(CLAIMS, NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    refused(f"{header}.{part(claims | {'sub': 'bob'})}.{signature}")
    refused(f"{header}.{payload}.{signature[:-2]}AA")


@given(st.text(max_size=300) | st.text("ey.=-_AZaz09", max_size=300))
def test_any_text_is_refused_with_a_sentence_that_does_not_repeat_it(text):
    sentence = refused(text)
    assert sentence == "it is no access token of this server, and no API key, which begins with netra_"


def test_a_token_of_any_length_is_refused_at_once():
    refused("a." * 1_000_000)
    refused("\ud800.\ud800.\ud800")


def test_opaque_tokens_have_256_bits_and_are_stored_as_their_hash():
    token = new_token()
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert token not in hash_token(token)
    assert hash_token(token) != hash_token(new_token())
    assert len(hash_token("\ud800")) == 64
