from station.wire import device_id_pb2 as _device_id_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeviceRegistrationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_REGISTRATION_STATE_UNSPECIFIED: _ClassVar[DeviceRegistrationState]
    DEVICE_REGISTRATION_STATE_PROVISIONED: _ClassVar[DeviceRegistrationState]
    DEVICE_REGISTRATION_STATE_PROV_READ: _ClassVar[DeviceRegistrationState]
    DEVICE_REGISTRATION_STATE_PROV_REPORT: _ClassVar[DeviceRegistrationState]
    DEVICE_REGISTRATION_STATE_INVALID: _ClassVar[DeviceRegistrationState]
    DEVICE_REGISTRATION_STATE_REVOKED: _ClassVar[DeviceRegistrationState]

class DeviceLifeCycle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_LIFE_CYCLE_UNSPECIFIED: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_RAW: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_TEST_LOCKED: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_TEST_UNLOCKED: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_DEV: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_PROD: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_PROD_END: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_RMA: _ClassVar[DeviceLifeCycle]
    DEVICE_LIFE_CYCLE_SCRAP: _ClassVar[DeviceLifeCycle]
DEVICE_REGISTRATION_STATE_UNSPECIFIED: DeviceRegistrationState
DEVICE_REGISTRATION_STATE_PROVISIONED: DeviceRegistrationState
DEVICE_REGISTRATION_STATE_PROV_READ: DeviceRegistrationState
DEVICE_REGISTRATION_STATE_PROV_REPORT: DeviceRegistrationState
DEVICE_REGISTRATION_STATE_INVALID: DeviceRegistrationState
DEVICE_REGISTRATION_STATE_REVOKED: DeviceRegistrationState
DEVICE_LIFE_CYCLE_UNSPECIFIED: DeviceLifeCycle
DEVICE_LIFE_CYCLE_RAW: DeviceLifeCycle
DEVICE_LIFE_CYCLE_TEST_LOCKED: DeviceLifeCycle
DEVICE_LIFE_CYCLE_TEST_UNLOCKED: DeviceLifeCycle
DEVICE_LIFE_CYCLE_DEV: DeviceLifeCycle
DEVICE_LIFE_CYCLE_PROD: DeviceLifeCycle
DEVICE_LIFE_CYCLE_PROD_END: DeviceLifeCycle
DEVICE_LIFE_CYCLE_RMA: DeviceLifeCycle
DEVICE_LIFE_CYCLE_SCRAP: DeviceLifeCycle

class Metadata(_message.Message):
    __slots__ = ("registration_state", "create_time_ms", "update_time_ms", "ate_id", "ate_raw", "year", "week", "lot_num", "wafer_id", "x", "y")
    REGISTRATION_STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ATE_ID_FIELD_NUMBER: _ClassVar[int]
    ATE_RAW_FIELD_NUMBER: _ClassVar[int]
    YEAR_FIELD_NUMBER: _ClassVar[int]
    WEEK_FIELD_NUMBER: _ClassVar[int]
    LOT_NUM_FIELD_NUMBER: _ClassVar[int]
    WAFER_ID_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    registration_state: DeviceRegistrationState
    create_time_ms: int
    update_time_ms: int
    ate_id: str
    ate_raw: str
    year: int
    week: int
    lot_num: int
    wafer_id: int
    x: int
    y: int
    def __init__(self, registration_state: _Optional[_Union[DeviceRegistrationState, str]] = ..., create_time_ms: _Optional[int] = ..., update_time_ms: _Optional[int] = ..., ate_id: _Optional[str] = ..., ate_raw: _Optional[str] = ..., year: _Optional[int] = ..., week: _Optional[int] = ..., lot_num: _Optional[int] = ..., wafer_id: _Optional[int] = ..., x: _Optional[int] = ..., y: _Optional[int] = ...) -> None: ...

class DeviceData(_message.Message):
    __slots__ = ("sku", "device_id", "device_life_cycle", "metadata", "wrapped_rma_unlock_token", "perso_tlv_data", "perso_fw_sha256_hash", "num_perso_tlv_objects")
    SKU_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_LIFE_CYCLE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_RMA_UNLOCK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PERSO_TLV_DATA_FIELD_NUMBER: _ClassVar[int]
    PERSO_FW_SHA256_HASH_FIELD_NUMBER: _ClassVar[int]
    NUM_PERSO_TLV_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    device_id: _device_id_pb2.DeviceId
    device_life_cycle: DeviceLifeCycle
    metadata: Metadata
    wrapped_rma_unlock_token: bytes
    perso_tlv_data: bytes
    perso_fw_sha256_hash: bytes
    num_perso_tlv_objects: int
    def __init__(self, sku: _Optional[str] = ..., device_id: _Optional[_Union[_device_id_pb2.DeviceId, _Mapping]] = ..., device_life_cycle: _Optional[_Union[DeviceLifeCycle, str]] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ..., wrapped_rma_unlock_token: _Optional[bytes] = ..., perso_tlv_data: _Optional[bytes] = ..., perso_fw_sha256_hash: _Optional[bytes] = ..., num_perso_tlv_objects: _Optional[int] = ...) -> None: ...

class RegistryRecord(_message.Message):
    __slots__ = ("device_id", "sku", "version", "data", "auth_pubkey", "auth_signature")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    AUTH_PUBKEY_FIELD_NUMBER: _ClassVar[int]
    AUTH_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    sku: str
    version: int
    data: bytes
    auth_pubkey: bytes
    auth_signature: bytes
    def __init__(self, device_id: _Optional[str] = ..., sku: _Optional[str] = ..., version: _Optional[int] = ..., data: _Optional[bytes] = ..., auth_pubkey: _Optional[bytes] = ..., auth_signature: _Optional[bytes] = ...) -> None: ...
