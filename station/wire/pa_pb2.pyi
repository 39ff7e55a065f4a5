from station.wire import crypto_cert_pb2 as _crypto_cert_pb2
from station.wire import crypto_common_pb2 as _crypto_common_pb2
from station.wire import registry_record_pb2 as _registry_record_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TokenSeed(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_SEED_UNSPECIFIED: _ClassVar[TokenSeed]
    TOKEN_SEED_LOW_SECURITY: _ClassVar[TokenSeed]
    TOKEN_SEED_HIGH_SECURITY: _ClassVar[TokenSeed]
    TOKEN_SEED_KEYGEN: _ClassVar[TokenSeed]

class TokenType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_TYPE_UNSPECIFIED: _ClassVar[TokenType]
    TOKEN_TYPE_RAW: _ClassVar[TokenType]
    TOKEN_TYPE_HASHED_OT_LC_TOKEN: _ClassVar[TokenType]

class TokenSize(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_SIZE_UNSPECIFIED: _ClassVar[TokenSize]
    TOKEN_SIZE_128_BITS: _ClassVar[TokenSize]
    TOKEN_SIZE_256_BITS: _ClassVar[TokenSize]
TOKEN_SEED_UNSPECIFIED: TokenSeed
TOKEN_SEED_LOW_SECURITY: TokenSeed
TOKEN_SEED_HIGH_SECURITY: TokenSeed
TOKEN_SEED_KEYGEN: TokenSeed
TOKEN_TYPE_UNSPECIFIED: TokenType
TOKEN_TYPE_RAW: TokenType
TOKEN_TYPE_HASHED_OT_LC_TOKEN: TokenType
TOKEN_SIZE_UNSPECIFIED: TokenSize
TOKEN_SIZE_128_BITS: TokenSize
TOKEN_SIZE_256_BITS: TokenSize

class InitSessionRequest(_message.Message):
    __slots__ = ("sku", "sku_auth")
    SKU_FIELD_NUMBER: _ClassVar[int]
    SKU_AUTH_FIELD_NUMBER: _ClassVar[int]
    sku: str
    sku_auth: str
    def __init__(self, sku: _Optional[str] = ..., sku_auth: _Optional[str] = ...) -> None: ...

class InitSessionResponse(_message.Message):
    __slots__ = ("sku_session_token", "pa_endpoint", "auth_methods")
    SKU_SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PA_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    AUTH_METHODS_FIELD_NUMBER: _ClassVar[int]
    sku_session_token: str
    pa_endpoint: str
    auth_methods: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sku_session_token: _Optional[str] = ..., pa_endpoint: _Optional[str] = ..., auth_methods: _Optional[_Iterable[str]] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EndorseCertBundle(_message.Message):
    __slots__ = ("key_params", "tbs")
    KEY_PARAMS_FIELD_NUMBER: _ClassVar[int]
    TBS_FIELD_NUMBER: _ClassVar[int]
    key_params: _crypto_cert_pb2.SigningKeyParams
    tbs: bytes
    def __init__(self, key_params: _Optional[_Union[_crypto_cert_pb2.SigningKeyParams, _Mapping]] = ..., tbs: _Optional[bytes] = ...) -> None: ...

class EndorseCertsRequest(_message.Message):
    __slots__ = ("sku", "bundles", "diversifier", "signature")
    SKU_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    DIVERSIFIER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    sku: str
    bundles: _containers.RepeatedCompositeFieldContainer[EndorseCertBundle]
    diversifier: bytes
    signature: bytes
    def __init__(self, sku: _Optional[str] = ..., bundles: _Optional[_Iterable[_Union[EndorseCertBundle, _Mapping]]] = ..., diversifier: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class CertBundle(_message.Message):
    __slots__ = ("key_label", "cert")
    KEY_LABEL_FIELD_NUMBER: _ClassVar[int]
    CERT_FIELD_NUMBER: _ClassVar[int]
    key_label: str
    cert: _crypto_cert_pb2.Certificate
    def __init__(self, key_label: _Optional[str] = ..., cert: _Optional[_Union[_crypto_cert_pb2.Certificate, _Mapping]] = ...) -> None: ...

class EndorseCertsResponse(_message.Message):
    __slots__ = ("certs",)
    CERTS_FIELD_NUMBER: _ClassVar[int]
    certs: _containers.RepeatedCompositeFieldContainer[CertBundle]
    def __init__(self, certs: _Optional[_Iterable[_Union[CertBundle, _Mapping]]] = ...) -> None: ...

class TokenParams(_message.Message):
    __slots__ = ("seed", "type", "size", "diversifier", "wrap_seed")
    SEED_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIVERSIFIER_FIELD_NUMBER: _ClassVar[int]
    WRAP_SEED_FIELD_NUMBER: _ClassVar[int]
    seed: TokenSeed
    type: TokenType
    size: TokenSize
    diversifier: bytes
    wrap_seed: bool
    def __init__(self, seed: _Optional[_Union[TokenSeed, str]] = ..., type: _Optional[_Union[TokenType, str]] = ..., size: _Optional[_Union[TokenSize, str]] = ..., diversifier: _Optional[bytes] = ..., wrap_seed: _Optional[bool] = ...) -> None: ...

class DeriveTokensRequest(_message.Message):
    __slots__ = ("sku", "params")
    SKU_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    params: _containers.RepeatedCompositeFieldContainer[TokenParams]
    def __init__(self, sku: _Optional[str] = ..., params: _Optional[_Iterable[_Union[TokenParams, _Mapping]]] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("token", "wrapped_seed")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_SEED_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    wrapped_seed: bytes
    def __init__(self, token: _Optional[bytes] = ..., wrapped_seed: _Optional[bytes] = ...) -> None: ...

class DeriveTokensResponse(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    def __init__(self, tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ...) -> None: ...

class GetStoredTokensRequest(_message.Message):
    __slots__ = ("sku", "tokens")
    SKU_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    tokens: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sku: _Optional[str] = ..., tokens: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStoredTokensResponse(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, tokens: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetCaSubjectKeysRequest(_message.Message):
    __slots__ = ("sku", "cert_labels")
    SKU_FIELD_NUMBER: _ClassVar[int]
    CERT_LABELS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    cert_labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sku: _Optional[str] = ..., cert_labels: _Optional[_Iterable[str]] = ...) -> None: ...

class GetCaSubjectKeysResponse(_message.Message):
    __slots__ = ("key_ids",)
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    key_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, key_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetCaCertsRequest(_message.Message):
    __slots__ = ("sku", "cert_labels")
    SKU_FIELD_NUMBER: _ClassVar[int]
    CERT_LABELS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    cert_labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sku: _Optional[str] = ..., cert_labels: _Optional[_Iterable[str]] = ...) -> None: ...

class GetCaCertsResponse(_message.Message):
    __slots__ = ("certs",)
    CERTS_FIELD_NUMBER: _ClassVar[int]
    certs: _containers.RepeatedCompositeFieldContainer[_crypto_cert_pb2.Certificate]
    def __init__(self, certs: _Optional[_Iterable[_Union[_crypto_cert_pb2.Certificate, _Mapping]]] = ...) -> None: ...

class GetOwnerFwBootMessageRequest(_message.Message):
    __slots__ = ("sku",)
    SKU_FIELD_NUMBER: _ClassVar[int]
    sku: str
    def __init__(self, sku: _Optional[str] = ...) -> None: ...

class GetOwnerFwBootMessageResponse(_message.Message):
    __slots__ = ("boot_message",)
    BOOT_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    boot_message: str
    def __init__(self, boot_message: _Optional[str] = ...) -> None: ...

class RegistrationRequest(_message.Message):
    __slots__ = ("device_data", "hash_type", "certs_hash")
    DEVICE_DATA_FIELD_NUMBER: _ClassVar[int]
    HASH_TYPE_FIELD_NUMBER: _ClassVar[int]
    CERTS_HASH_FIELD_NUMBER: _ClassVar[int]
    device_data: _registry_record_pb2.DeviceData
    hash_type: _crypto_common_pb2.HashType
    certs_hash: bytes
    def __init__(self, device_data: _Optional[_Union[_registry_record_pb2.DeviceData, _Mapping]] = ..., hash_type: _Optional[_Union[_crypto_common_pb2.HashType, str]] = ..., certs_hash: _Optional[bytes] = ...) -> None: ...

class RegistrationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
