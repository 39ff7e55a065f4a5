from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MldsaParameterSets(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MLDSA_UNSPECIFIED: _ClassVar[MldsaParameterSets]
    MLDSA_44: _ClassVar[MldsaParameterSets]
    MLDSA_65: _ClassVar[MldsaParameterSets]
    MLDSA_87: _ClassVar[MldsaParameterSets]
MLDSA_UNSPECIFIED: MldsaParameterSets
MLDSA_44: MldsaParameterSets
MLDSA_65: MldsaParameterSets
MLDSA_87: MldsaParameterSets

class MldsaParams(_message.Message):
    __slots__ = ("param_sets",)
    PARAM_SETS_FIELD_NUMBER: _ClassVar[int]
    param_sets: MldsaParameterSets
    def __init__(self, param_sets: _Optional[_Union[MldsaParameterSets, str]] = ...) -> None: ...
