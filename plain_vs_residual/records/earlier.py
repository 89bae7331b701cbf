"""Records as earlier versions of this suite wrote them, brought into the form of today's."""

from typing import Any


def in_todays_form(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON file with what has moved since in its present place; all else as it is.

    Version 0.1 wrote the arithmetic of a run in two places of ``run.json``, in its configuration and environment.
    """
    configuration, environment = values.get("configuration"), values.get("environment")
    if "arithmetic" in values or not isinstance(configuration, dict) or not isinstance(environment, dict):
        return values
    chosen = _some_of(configuration, "precision", "execution", "deterministic")
    resumed = [
        {"arithmetic": chosen | _some_of(session.get("environment"), "threads", "devices"), **session}
        for session in values.get("resumed", ())
        if isinstance(session, dict)
    ]
    arithmetic = chosen | _some_of(environment, "threads", "devices")
    return values | {"arithmetic": arithmetic} | ({"resumed": resumed} if resumed else {})


def _some_of(values: Any, *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values} if isinstance(values, dict) else {}
