"""The OpenAPI document: what FastAPI derives, with our problems in the place of its own errors."""

from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from netra_apex.server.problems import FieldProblem, Problem
from netra_apex.server.protocols.openai_errors import ROOT, OpenAIError

_REPLACED = ("HTTPValidationError", "ValidationError")
_REFERENCE = "#/components/schemas/{model}"


def document(app: FastAPI) -> dict[str, Any]:
    """The document of this application; made once, then kept by it."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = cast("dict[str, Any]", made.setdefault("components", {}).setdefault("schemas", {}))
    for name in _REPLACED:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_REFERENCE)
    problem.pop("$defs", None)
    schemas["Problem"] = problem
    schemas["FieldProblem"] = FieldProblem.model_json_schema(ref_template=_REFERENCE)
    for path, operations in made["paths"].items():
        if path.startswith(f"{ROOT}/"):
            for operation in operations.values():
                operation["responses"].pop("422", None)  # which is 400 there
    failed = OpenAIError.model_json_schema(ref_template=_REFERENCE)
    schemas |= failed.pop("$defs") | {"OpenAIError": failed}
    app.openapi_schema = made
    return made
