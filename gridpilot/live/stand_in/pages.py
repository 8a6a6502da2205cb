"""Two pages for people: what is served here, and the reference. They need nothing from any other host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from gridpilot.live.api import format_time
from gridpilot.live.stand_in.options import StandInOptions

if TYPE_CHECKING:
    from gridpilot.live.stand_in.endpoints import StandIn

__all__ = ["docs_page", "home_page"]

_STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: #8881; padding: .7rem 1rem; border-radius: .3rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; }
th { font-weight: 600; } td:first-child { white-space: nowrap; }"""


def home_page(stand_in: StandIn) -> str:
    """What is served here."""
    newest, options = stand_in.newest, stand_in.options
    facts = {
        "newest row": f"{format_time(newest.at)} UTC: energy {newest.energy:.4g}, hash {newest.hash:.4g}, token {newest.token:.4g}",
        "speed": f"{stand_in.clock.speed:g} times the wall clock",
        "inventory": options.inventory,
        "site power": f"{options.power_w:,} W",
        "sites": str(len(stand_in.sites)),
        "faults": f"{len(stand_in.faults.rules)} rules" if stand_in.faults.rules else "none",
    }
    body = (
        "<p>A server on this machine that speaks the API of the MARA Hackathon 2025. "
        'See the <a href="/docs">reference</a>, the <a href="/openapi.json">OpenAPI document</a>, '
        'the <a href="/prices">prices</a> and the <a href="/inventory">inventory</a>.</p>'
        f"{_table(facts)}"
        "<h2>Make a site</h2>"
        "<pre>curl -X POST $HOST/sites -H 'Content-Type: application/json' -d '{\"name\": \"my site\"}'\n"
        'curl $HOST/machines -H "X-Api-Key: $KEY"</pre>'
    )
    return _page("Stand-in of the MARA API", body)


def docs_page(document: Mapping[str, Any], options: StandInOptions) -> str:
    """The OpenAPI document as a page, and the options that this server was started with."""
    parts = [f"<p>{escape(document['info']['description'])}</p>"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(method.upper(), path, operation, document))
    fields = StandInOptions.model_fields
    parts.append("<h2>Options</h2><p>What the API's description leaves open, and what it is here.</p><table>")
    for name, value in options.model_dump().items():
        shown = escape(json.dumps(value))
        parts.append(
            f"<tr><td><code>{name}</code></td><td><code>{shown}</code></td><td>{escape(fields[name].description or '')}</td></tr>"
        )
    parts.append("</table>")
    return _page(document["info"]["title"], "\n".join(parts))


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    key = "<p>Needs the header <code>X-Api-Key</code>.</p>" if operation.get("security") else ""
    body = operation.get("requestBody")
    asked = "" if body is None else f"<p>Body</p><pre>{escape(_shape(_schema(body), document))}</pre>"
    answers = []
    for status, answer in operation["responses"].items():
        shape = _shape(_schema(answer), document) if answer.get("content") else "no body"
        answers.append(f"<p>{status}: {escape(answer['description'])}</p><pre>{escape(shape)}</pre>")
    description = escape(operation.get("description", ""))
    return f"<h2><code>{method} {path}</code></h2><p>{description}</p>{key}{asked}{''.join(answers)}"


def _schema(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a body's only media type."""
    media: Mapping[str, Any] = next(iter(holder["content"].values()))
    return media.get("schema", {})  # type: ignore[no-any-return]


def _shape(schema: Mapping[str, Any], document: Mapping[str, Any], indent: str = "") -> str:
    """A schema as an example is written: names, and types in place of values."""
    if "$ref" in schema:
        return _shape(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, indent)
    if "anyOf" in schema:
        return " | ".join(_shape(part, document, indent) for part in schema["anyOf"])
    match schema.get("type"):
        case "array":
            return f"[{_shape(schema['items'], document, indent)}, ...]"
        case "object" if schema.get("properties"):
            inner = indent + "  "
            lines = [f'{inner}"{name}": {_shape(part, document, inner)}' for name, part in schema["properties"].items()]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
        case "object":
            return "{}"
        case kind:
            return str(kind or "anything")


def _table(facts: Mapping[str, str]) -> str:
    return (
        "<table>" + "".join(f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>" for name, fact in facts.items()) + "</table>"
    )


def _page(title: str, body: str) -> str:
    icon = '<link rel="icon" href="data:,">'  # or the browser asks for one
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{icon}<title>{escape(title)}</title>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>'
