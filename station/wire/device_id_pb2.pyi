from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SiliconCreatorId(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SILICON_CREATOR_ID_UNSPECIFIED: _ClassVar[SiliconCreatorId]
    SILICON_CREATOR_ID_OPENSOURCE: _ClassVar[SiliconCreatorId]
    SILICON_CREATOR_ID_NUVOTON: _ClassVar[SiliconCreatorId]
    SILICON_CREATOR_ID_FPGA: _ClassVar[SiliconCreatorId]

class ProductId(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCT_ID_UNSPECIFIED: _ClassVar[ProductId]
    PRODUCT_ID_EARLGREY_Z1: _ClassVar[ProductId]
    PRODUCT_ID_EARLGREY_A1: _ClassVar[ProductId]
    PRODUCT_ID_EARLGREY_A2: _ClassVar[ProductId]
    PRODUCT_ID_FPGA: _ClassVar[ProductId]
SILICON_CREATOR_ID_UNSPECIFIED: SiliconCreatorId
SILICON_CREATOR_ID_OPENSOURCE: SiliconCreatorId
SILICON_CREATOR_ID_NUVOTON: SiliconCreatorId
SILICON_CREATOR_ID_FPGA: SiliconCreatorId
PRODUCT_ID_UNSPECIFIED: ProductId
PRODUCT_ID_EARLGREY_Z1: ProductId
PRODUCT_ID_EARLGREY_A1: ProductId
PRODUCT_ID_EARLGREY_A2: ProductId
PRODUCT_ID_FPGA: ProductId

class HardwareOrigin(_message.Message):
    __slots__ = ("silicon_creator_id", "product_id", "device_identification_number", "cp_reserved")
    SILICON_CREATOR_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_IDENTIFICATION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CP_RESERVED_FIELD_NUMBER: _ClassVar[int]
    silicon_creator_id: SiliconCreatorId
    product_id: ProductId
    device_identification_number: int
    cp_reserved: int
    def __init__(self, silicon_creator_id: _Optional[_Union[SiliconCreatorId, str]] = ..., product_id: _Optional[_Union[ProductId, str]] = ..., device_identification_number: _Optional[int] = ..., cp_reserved: _Optional[int] = ...) -> None: ...

class DeviceId(_message.Message):
    __slots__ = ("hardware_origin", "sku_specific")
    HARDWARE_ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SKU_SPECIFIC_FIELD_NUMBER: _ClassVar[int]
    hardware_origin: HardwareOrigin
    sku_specific: bytes
    def __init__(self, hardware_origin: _Optional[_Union[HardwareOrigin, _Mapping]] = ..., sku_specific: _Optional[bytes] = ...) -> None: ...
