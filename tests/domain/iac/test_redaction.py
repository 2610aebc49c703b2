"""What must not leave the encrypted body, wherever it stands, and what stays readable."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings

from asset_ledger.domain.iac import pulumi_state
from asset_ledger.domain.iac.exact_json import canonical
from asset_ledger.domain.iac.patches import made, value_hash
from asset_ledger.domain.iac.redaction import MOST_SCANNED, redacted, redacted_attributes, shown, token
from asset_ledger.domain.iac.snapshot import Resource
from tests.domain.iac.json_values import objects
from tests.domain.iac.states import KEY, History, block, instance, only, read
from tests.patience import no_minutes

PEM = "-----BEGIN RSA PRIVATE KEY-----\nplanted-pem\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"
PLANTED: dict[str, Any] = {
    # marked by the document
    "marked": "planted-marked",
    "nested": [{"deep": {"marked": "planted-nested"}}],
    # by the provider's schema
    "clone": [
        {"customize": [{"windows_sysprep_text": "planted-sysprep", "windows_options": [{"product_key": "planted-pk"}]}]}
    ],
    # by name
    "admin_password": "planted-password",
    "user_data": "planted-user-data",
    "settings": {"DB_PASSWORD": "planted-setting", "connectionString": {"value": "planted-conn"}},
    "kube_admin_config_raw": "planted-kube",
    "primary_access_key": "planted-access",
    "pin_token": 493817,
    # by value
    "notes": f"see {PEM}",
    "header": JWT,
    "repository": "https://bob:planted-url@git.example.org/x.git",
    "key_id": "AKIAPLANTEDPLANTED00",
    "cli": "mysql --host=db --password=planted-cli",
    "AKIAPLANTEDPLANTED01": "as a name",
    # in JSON in a text, and in pairs of name and value
    "container_definitions": json.dumps(
        [{"name": "web", "environment": [{"name": "API_TOKEN", "value": "planted-json"}]}]
    ),
    "policy": ' {"Statement": [{"secret_string": "planted-policy"}]}',
    "env": [{"name": "DB_PASSWORD", "value": "planted-pair"}, {"name": "MODE", "value": "readable-pair"}],
}
MARKS = [
    [{"type": "get_attr", "value": "marked"}],
    [
        {"type": "get_attr", "value": "nested"},
        {"type": "index", "value": {"value": 0, "type": "number"}},
        {"type": "get_attr", "value": "deep"},
        {"type": "get_attr", "value": "marked"},
    ],
]


def planted(attributes: Any = None, type_: str = "vsphere_virtual_machine") -> Resource:
    told = instance({"id": "42", **(PLANTED if attributes is None else attributes)}, sensitive_attributes=MARKS)
    return only(block(type_, "a", told, module="module.x"))


def found_in(told: Any) -> list[str]:
    text = json.dumps(told, default=str).lower()
    return [secret for secret in ("planted", "493817", JWT.lower()) if secret in text]


def test_no_planted_secret_is_left_in_the_attributes() -> None:
    assert found_in(redacted(planted(), KEY)) == []


def test_no_planted_secret_is_left_in_events_patches_and_identities() -> None:
    history = History()
    first = history.then(
        block("vsphere_virtual_machine", "a", instance({"id": "42", **PLANTED}, sensitive_attributes=MARKS))
    )
    changed = json.loads(json.dumps(PLANTED).replace("lanted", "lanted2").replace("493817", "4938172"))
    second = history.then(
        block("vsphere_virtual_machine", "a", instance({"id": "42", **changed}, sensitive_attributes=MARKS))
    )
    gone = history.then()
    assert [event.action for each in (first, second, gone) for event in each.events] == ["create", "update", "delete"]
    assert found_in([first, second, gone]) == []
    assert found_in(history.standing) == []
    # each of them changed, and each shows that it did
    assert len(second.events[0].patch) >= 14


def test_a_hash_is_none_of_the_secret() -> None:
    shown = redacted(planted({"password": "hunter2"}, "t"), KEY)
    assert value_hash(shown) != value_hash({"id": "42", "password": "hunter2"})
    assert shown["password"] == token("hunter2", KEY) != token("hunter2", KEY[::-1])


def test_a_secret_that_changed_shows_that_it_did_and_one_that_stayed_does_not() -> None:
    one, other = (redacted(planted({"password": text}, "t"), KEY) for text in ("hunter2", "hunter3"))
    assert [each["path"] for each in made(one, other)] == ["/password"]
    assert made(one, redacted(planted({"password": "hunter2"}, "t"), KEY)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret_version", 3),
        ("region", "ASIA-PACIFIC-SOUTHEAST-1"),
        ("title", "final_version_of_the_document_of_this_year"),
        ("password_version", "2"),
        ("token_endpoint", "https://oauth2.example.org/token"),
        ("command", ["app", "--port", "8080", "--verbose"]),
        ("env", ["MODE=prod", "TOKEN_TTL=60", "PATH=/bin:/usr/bin"]),
        ("script", "#!/bin/sh\nset -e\nexport MODE=prod\necho basic information: bearer of news\n"),
        ("values", ["image:\n  tag: 1.2\nreplicas: 3\npassword: ${PASSWORD}\n"]),
        ("image", "registry.example.org:5000/team/app:1.2@sha256:0123456789abcdef"),
        ("etag", "d41d8cd98f00b204e9800998ecf8427e"),
        ("content", "cGxhaW4gdGV4dCBvZiBubyBpbnRlcmVzdA=="),
        ("secret_arn", "arn:aws:secretsmanager:eu-west-1:1:secret:x"),
        ("key_name", "deploy"),
        ("kms_key_id", "1234"),
        ("password_length", 16),
        ("password", None),
        ("password", ""),
        ("password", []),
        ("get_password_data", False),
        ("user_data_replace_on_change", True),
        ("token_ttl", 3600),
        ("credential_ref", "vault:x"),
        ("public_key", "ssh-ed25519 AAAA me@here"),
        ("partition_key", "id"),
        ("instance_type", "t3.small"),
        ("description", "the password of the day is nowhere"),
        ("policy", '{"Version": "2012-10-17",  "Statement": []}'),
        ("text", "{not json"),
        ("text", "[0-9]+"),
        ("url", "https://example.org/a?b=c"),
        ("key", "tags"),
        ("n", 10**40),
        ("é", "日本"),
        ("certificate_body", "-----BEGIN CERTIFICATE-----\nMIIB"),
    ],
)
def test_what_is_no_secret_stays_readable(name: str, value: Any) -> None:
    assert redacted(planted({name: value}, "t"), KEY)[name] == value


def test_only_what_is_secret_in_a_text_of_json_goes() -> None:
    shown = redacted(planted(), KEY)
    (container,) = json.loads(shown["container_definitions"])
    assert container["name"] == "web"
    assert container["environment"][0]["name"] == "API_TOKEN"
    assert shown["env"][1] == {"name": "MODE", "value": "readable-pair"}


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("aws_ssm_parameter", "value"),
        ("random_password", "result"),
        ("kubernetes_secret", "data"),
        ("local_sensitive_file", "content"),
        ("azurerm_key_vault_secret", "value"),
    ],
)
def test_what_a_schema_marks_goes_though_old_clients_did_not_write_the_mark(type_: str, name: str) -> None:
    shown = redacted(planted({name: "planted", "arn": "x"}, type_), KEY)
    assert {**shown, "id": "-"} == {"id": "-", "arn": "x", name: token("planted", KEY)}


def test_a_mark_on_all_of_a_resource_hides_every_attribute_and_not_which_there_are() -> None:
    shown = redacted_attributes({"a": "planted", "b": {"c": 1}, "d": None}, "t", [()], KEY)
    assert shown == {"a": token("planted", KEY), "b": token({"c": 1}, KEY), "d": None}


def test_a_secret_that_looks_like_what_stands_for_one_is_hidden_all_the_same() -> None:
    assert redacted(planted({"password": "redacted:not-hex-here"}, "t"), KEY)["password"] != "redacted:not-hex-here"


def test_a_long_name_costs_little_and_is_told_by_its_ends() -> None:
    with no_minutes():
        shown = redacted(planted({"_expir" * 200_000 + "x": 1, "x" * 300 + "_password": "planted"}, "t"), KEY)
    assert found_in(shown) == []


def test_deep_json_in_a_text_is_hidden_whole() -> None:
    for size in (300, 100_000):
        assert redacted(planted({"text": "[" * size + "]" * size}, "t"), KEY)["text"].startswith("redacted:")


def test_half_a_surrogate_pair_hides_no_secret_in_json() -> None:
    shown = redacted_attributes({"text": '{"x": "\ud800", "password": "planted"}'}, "t", (), KEY)
    assert found_in(shown) == []


def test_what_was_redacted_is_not_redacted_to_something_else() -> None:
    once = redacted(planted(), KEY)
    assert redacted_attributes(once, "vsphere_virtual_machine", (), KEY) == once


@settings(deadline=None)
@given(objects)
def test_redaction_is_the_same_again_and_fit_to_be_stored(value: dict[str, Any]) -> None:
    once = redacted_attributes(value, "t", (), KEY)
    assert redacted_attributes(once, "t", (), KEY) == once
    assert b"\\u0000" not in canonical(once).replace(b"\\\\", b"")


def test_an_access_key_is_no_name_in_clear() -> None:
    history = History()
    history.then(block("aws_iam_access_key", "a", instance({"id": "AKIAPLANTEDPLANTED02", "secret": "planted"})))
    ((identity, _, _),) = history.standing.values()
    assert found_in([identity.named.native_key, identity.named.incarnation]) == []


def test_a_pulumi_secret_is_one_mark_whatever_is_in_it() -> None:
    secret = {pulumi_state.SPECIAL: "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"planted"'}
    told = {
        "urn": "urn:pulumi:s::p::aws:x/y:Z::a",
        "type": "aws:x/y:Z",
        "custom": True,
        "outputs": {"a": secret, "b": [secret]},
    }
    (found,) = pulumi_state.read({"version": 3, "deployment": {"resources": [told]}}).resources
    assert redacted(found, KEY) == {"a": pulumi_state.HIDDEN, "b": [pulumi_state.HIDDEN]}


S = "Planted9Zq"
TEXTS: list[Any] = [
    f"auth:\n  password: {S}\n  adminToken: '{S}'\n  user: readable\n",
    f"auth:\n  password: |\n    {S}\n    {S}\n  user: readable\n",
    f"auth:\n  password:\n    - {S}\n  user: readable\n",
    f"env:\n- name: DB_PASSWORD\n  value: {S}\n- name: MODE\n  value: readable\n",
    f"#cloud-config\nchpasswd:\n  list: |\n    root:{S}\nreadable: 1\n",
    f"kind: Secret\nstringData:\n  conf: {S}\n",
    f"[db]\npass = {S}\nname = readable\n",
    f"API_TOKEN={S}",
    f"DB_PASS={S} with spaces, {S}; {S}",
    f"STRIPE_API_KEY={S}",
    f"export OPENAI_KEY={S}\necho readable",
    ["app", "--password", S, "--mode", "readable"],
    f"app --password {S} --token={S} --mode readable",
    f"curl -H 'Authorization: Bearer {S}' https://readable",
    f"curl -H 'X-Api-Key: {S}' https://readable",
    f"Bearer {S}",
    f"Basic dTp{S}",
    [{"Name": "DB_PASSWORD", "Value": S}, {"Name": "MODE", "Value": "readable"}],
    [{"name": "DB_PASSWORD", "values": [S]}],
    [{"parameter_key": "DBPassword", "parameter_value": S}],
    {"manifest": {"kind": "Secret", "metadata": {"name": "readable"}, "data": {"app.conf": S}}},
    f"root:{S}@tcp(10.0.0.1:3306)/readable",
    f"postgres://u:{S}/x@h/readable",
    f'readable {{"password":"{S}"}}',
    f'readable {{\\"password\\":\\"{S}\\"}}',
    f"CREATE USER x IDENTIFIED BY '{S}'",
    f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{S}",
    f"https://hooks.slack.com/services/T000/B000/{S}",
    f"ghs_{S}aaaaaaaaaaaa",
    f"xoxb-123-{S}",
    f"AIzaSy{S}abcdefghijklmnop",
    f"see ASIA{S.upper()}ABCD",
    f"al_{S}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    f"DefaultEndpointsProtocol=https;AccountName=readable;AccountKey={S}",
    {"psk": S, "pw": S, "encryption_key": S, "hmac_key": S, "OPENAI_KEY": S, "DB_PASS": S, "dbPass": S, "authKey": S},
    {"secret_url": f"https://x/{S}", "password_version": S, "sas_url": f"https://x/?{S}"},
    base64.b64encode(json.dumps({"password": S}).encode()).decode(),
    base64.b64encode(f"readable: 1\npassword: {S}\n".encode()).decode(),
]


@pytest.mark.parametrize("told", TEXTS)
def test_no_secret_is_left_in_a_text_a_pair_or_a_command(told: Any) -> None:
    attributes = {"x": told, "y": [told], "z": json.dumps({"x": told})}
    hidden = redacted_attributes(attributes, "t", (), KEY)
    text = json.dumps(hidden)
    assert S not in text
    assert base64.b64encode(S.encode()).decode()[:8] not in text
    assert not isinstance(told, str) or told not in text
    # what stands beside it stays, where it is not hidden whole
    shown_of = json.dumps(hidden["x"])
    assert ("readable" in json.dumps(told)) <= ("readable" in shown_of or shown_of.startswith('"redacted:'))
    # and what was redacted is not redacted again
    assert redacted_attributes(hidden, "t", (), KEY) == hidden


def test_a_secret_in_yaml_shows_that_it_changed_and_nothing_else_goes() -> None:
    text = "auth:\n  password: {}\n  user: bob\nreplicas: 3\n"
    hidden = redacted_attributes({"values": [text.format("planted")]}, "t", (), KEY)["values"][0]
    assert hidden == text.format(token("planted", KEY))


@pytest.mark.parametrize(
    ("type_", "attributes"),
    [
        ("local_sensitive_file", {"content_md5": S, "content_sha256": S, "id": S}),
        ("local_file", {"content_md5": S, "id": S}),
        ("random_string", {"result": S, "id": S}),
        ("kubectl_manifest", {"yaml_body": S}),
        ("cloudinit_config", {"part": [{"content": S}], "rendered": S}),
    ],
)
def test_hashes_and_copies_of_what_a_schema_marks_go_too(type_: str, attributes: dict[str, Any]) -> None:
    assert S not in json.dumps(redacted_attributes(attributes, type_, (), KEY))


def test_a_mark_that_names_a_place_in_a_list_as_text_is_one() -> None:
    assert redacted_attributes({"l": ["planted", "b"]}, "t", [("l", "0")], KEY) == {"l": [token("planted", KEY), "b"]}


def test_old_flat_attributes_hide_what_nested_ones_do() -> None:
    told = {
        "attributes_flat": {"id": "x", "data.app": "planted", "env.0.name": "DB_PASSWORD", "env.0.value": "planted"}
    }
    assert found_in(redacted(only(block("kubernetes_secret", "a", told)), KEY)) == []


def test_an_instance_key_that_is_a_secret_stands_in_no_address() -> None:
    keys = ["password=planted", "https://u:planted@h", "eu-1"]
    snapshot = read(
        block("t", "a", *(instance({}, index_key=each) for each in keys), module='module.m["token=planted"]')
    )
    addresses = [each.address for each in shown(snapshot, KEY).resources]
    assert found_in(addresses) == []
    assert len(set(addresses)) == 3
    assert addresses[2] == f'module.m["{token("token=planted", KEY)}"].t.a["eu-1"]'


@pytest.mark.parametrize(
    "piece",
    ["a=", "password", "password ", "token_name=", "password_version=1 ", "- ", " ", "\n", "://a:", "Bearer ", "a:", "'",
     'a="', "--x ", "secret: |\n ", '["', "\\", "a.", "eyJ", "k: v\n", "name: password\n"],
)  # fmt: skip
def test_a_crafted_text_costs_no_more_than_its_length(piece: str) -> None:
    text = (piece * MOST_SCANNED)[:MOST_SCANNED]
    with no_minutes():
        redacted_attributes({"x": text}, "t", (), KEY)


def test_a_text_too_long_to_look_through_is_hidden_whole() -> None:
    assert redacted_attributes({"x": "a: b\n" * MOST_SCANNED}, "t", (), KEY)["x"].startswith("redacted:")
