from station.wire import crypto_ecdsa_pb2 as _crypto_ecdsa_pb2
from station.wire import crypto_mldsa_pb2 as _crypto_mldsa_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SigningKeyParams(_message.Message):
    __slots__ = ("key_label", "ecdsa_params", "mldsa_params")
    KEY_LABEL_FIELD_NUMBER: _ClassVar[int]
    ECDSA_PARAMS_FIELD_NUMBER: _ClassVar[int]
    MLDSA_PARAMS_FIELD_NUMBER: _ClassVar[int]
    key_label: str
    ecdsa_params: _crypto_ecdsa_pb2.EcdsaParams
    mldsa_params: _crypto_mldsa_pb2.MldsaParams
    def __init__(self, key_label: _Optional[str] = ..., ecdsa_params: _Optional[_Union[_crypto_ecdsa_pb2.EcdsaParams, _Mapping]] = ..., mldsa_params: _Optional[_Union[_crypto_mldsa_pb2.MldsaParams, _Mapping]] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("blob",)
    BLOB_FIELD_NUMBER: _ClassVar[int]
    blob: bytes
    def __init__(self, blob: _Optional[bytes] = ...) -> None: ...
