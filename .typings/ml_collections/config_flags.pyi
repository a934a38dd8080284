from typing import Any

from absl.flags import FlagValues
from ml_collections import ConfigDict

def DEFINE_config_file(
    name: str, default: str | None = None, help_string: str = "", *, flag_values: FlagValues
) -> Any: ...
def DEFINE_config_dict(name: str, config: ConfigDict, *, flag_values: FlagValues) -> Any: ...
