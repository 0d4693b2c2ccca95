"""What a sampler is called: a name, its options, and steps."""

from samplers.errors import UserError


def split(full: str) -> tuple[str, int | None]:
    """A sampler as plans and flags name it, "ddim:eta=0.5@50", in its spec and its own step count, if it has one.

    Raises:
        UserError: what stands after the @ is no number above 0.
    """
    spec, at, own = full.partition("@")
    if at and not (own.isdecimal() and own.isascii() and int(own) > 0):
        raise UserError(f"{full}: write a step count after the @, as in {spec}@50")
    return spec, int(own) if at else None
