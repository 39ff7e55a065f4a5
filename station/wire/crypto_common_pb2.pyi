from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class HashType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HASH_TYPE_UNSPECIFIED: _ClassVar[HashType]
    HASH_TYPE_SHA384: _ClassVar[HashType]
    HASH_TYPE_SHA256: _ClassVar[HashType]
    HASH_TYPE_SHA512: _ClassVar[HashType]
    HASH_TYPE_SHA224: _ClassVar[HashType]

class EllipticCurveType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELLIPTIC_CURVE_TYPE_UNSPECIFIED: _ClassVar[EllipticCurveType]
    ELLIPTIC_CURVE_TYPE_NIST_P256: _ClassVar[EllipticCurveType]
    ELLIPTIC_CURVE_TYPE_NIST_P384: _ClassVar[EllipticCurveType]
    ELLIPTIC_CURVE_TYPE_NIST_P521: _ClassVar[EllipticCurveType]
    ELLIPTIC_CURVE_TYPE_CURVE25519: _ClassVar[EllipticCurveType]

class EcPointFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EC_POINT_FORMAT_UNSPECIFIED: _ClassVar[EcPointFormat]
    EC_POINT_FORMAT_UNCOMPRESSED: _ClassVar[EcPointFormat]
HASH_TYPE_UNSPECIFIED: HashType
HASH_TYPE_SHA384: HashType
HASH_TYPE_SHA256: HashType
HASH_TYPE_SHA512: HashType
HASH_TYPE_SHA224: HashType
ELLIPTIC_CURVE_TYPE_UNSPECIFIED: EllipticCurveType
ELLIPTIC_CURVE_TYPE_NIST_P256: EllipticCurveType
ELLIPTIC_CURVE_TYPE_NIST_P384: EllipticCurveType
ELLIPTIC_CURVE_TYPE_NIST_P521: EllipticCurveType
ELLIPTIC_CURVE_TYPE_CURVE25519: EllipticCurveType
EC_POINT_FORMAT_UNSPECIFIED: EcPointFormat
EC_POINT_FORMAT_UNCOMPRESSED: EcPointFormat
