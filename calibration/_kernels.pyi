from typing import Any

def observe(
    values: Any,
    shape: tuple[int, int, int, int],
    counts: Any,
    total: Any | None,
    square: Any | None,
    minimum: Any | None,
    maximum: Any | None,
    /,
) -> None: ...
