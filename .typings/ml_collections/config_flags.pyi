from typing import Any

from absl.flags import FlagValues

def DEFINE_config_file(
    name: str, default: str | None = None, help_string: str = "", *, flag_values: FlagValues
) -> Any: ...
