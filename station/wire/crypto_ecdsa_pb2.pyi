from station.wire import crypto_common_pb2 as _crypto_common_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EcdsaSignatureEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ECDSA_SIGNATURE_ENCODING_UNSPECIFIED: _ClassVar[EcdsaSignatureEncoding]
    ECDSA_SIGNATURE_ENCODING_IEEE_P1363: _ClassVar[EcdsaSignatureEncoding]
    ECDSA_SIGNATURE_ENCODING_DER: _ClassVar[EcdsaSignatureEncoding]
ECDSA_SIGNATURE_ENCODING_UNSPECIFIED: EcdsaSignatureEncoding
ECDSA_SIGNATURE_ENCODING_IEEE_P1363: EcdsaSignatureEncoding
ECDSA_SIGNATURE_ENCODING_DER: EcdsaSignatureEncoding

class EcdsaParams(_message.Message):
    __slots__ = ("hash_type", "curve", "encoding")
    HASH_TYPE_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    hash_type: _crypto_common_pb2.HashType
    curve: _crypto_common_pb2.EllipticCurveType
    encoding: EcdsaSignatureEncoding
    def __init__(self, hash_type: _Optional[_Union[_crypto_common_pb2.HashType, str]] = ..., curve: _Optional[_Union[_crypto_common_pb2.EllipticCurveType, str]] = ..., encoding: _Optional[_Union[EcdsaSignatureEncoding, str]] = ...) -> None: ...
