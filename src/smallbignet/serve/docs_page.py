"""The page at /docs: the addresses of the server, from its OpenAPI document, without scripts."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_docs(document: dict[str, Any]) -> str:
    """Returns the page for an OpenAPI document."""
    environment = Environment(
        loader=PackageLoader("smallbignet.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = kind
    return environment.get_template("docs.html").render(document=document)


def kind(schema: dict[str, Any]) -> str:
    """What a schema allows, in a few words: "number", "list of Segment", "text or null"."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}"
    return {"string": "text", "boolean": "true or false"}.get(schema.get("type", ""), schema.get("type", "anything"))
