"""OpenTitan Earlgrey: the verbs a process engineer uses on a die or a part."""

from station.parts.earlgrey.life_cycle import LifeCycle
from station.parts.earlgrey.part import CpSecrets, Earlgrey
from station.parts.earlgrey.personalization import Endorsed, Exported
from station.parts.earlgrey.stages import Stage

__all__ = ["CpSecrets", "Earlgrey", "Endorsed", "Exported", "LifeCycle", "Stage"]
