"""The nine calls of ``pa.ProvisioningApplianceService``.

Source: opentitan-appliance sheet 1.3 (behaviour) and 1.5 (status codes). Refusals of the secure provisioning module
reach the caller with its status code and the prefix ``SPM.<Call> returned error:``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from station.appliance import service_journal
from station.appliance.device_data import read_device_id
from station.appliance.device_store import DeviceStore, Outcome
from station.appliance.quota import Quota, device_candidates, devices_of
from station.appliance.refusal import Refusal, echoed
from station.appliance.registry import register_device
from station.appliance.service_peer import client_of, metadata_value
from station.appliance.sessions import Sessions
from station.appliance.spm import Spm
from station.appliance.stations import Access
from station.formats import perso_blob
from station.model import Realm
from station.secret import Secret
from station.wire import pa_pb2, pa_pb2_grpc

log = logging.getLogger(__name__)

REALM_KEY = "x-station-realm"
REGISTRATION_KEY = "x-station-registration"


class ApplianceService(pa_pb2_grpc.ProvisioningApplianceServiceServicer):
    """Answers the calls; sessions and roles were checked by the interceptor before."""

    def __init__(
        self, spm: Spm, store: DeviceStore | None, sessions: Sessions, access: Access, quota: Quota, realm: Realm
    ) -> None:
        self._spm = spm
        self._store = store
        self._sessions = sessions
        self._access = access
        self._quota = quota
        self._realm = realm

    def InitSession(  # noqa: N802
        self, request: pa_pb2.InitSessionRequest, context: grpc.ServicerContext
    ) -> pa_pb2.InitSessionResponse:
        """Check realm, station and password, load the SKU, answer with a fresh token."""
        context.send_initial_metadata(((REALM_KEY, self._realm.value),))
        wanted = metadata_value(context, REALM_KEY)
        if wanted not in (None, self._realm.value):
            raise Refusal(
                "FAILED_PRECONDITION", f"this appliance is of realm {self._realm}, the station of {echoed(wanted)}"
            )
        client = client_of(context)
        permit = self._access.station_of(client.certificate).require_sku
        with _spm_errors("InitSession"):
            methods = self._spm.log_in(request.sku, Secret(request.sku_auth.encode(), "SKU password"), permit)
        if self._store is not None:
            context.set_trailing_metadata(
                service_journal.at_login(self._store.anchors, self._access.station_of(client.certificate).name, context)
            )
        with self._sessions.open(client.seat, request.sku).reveal() as raw:
            return pa_pb2.InitSessionResponse(sku_session_token=raw.decode(), auth_methods=methods)

    def CloseSession(  # noqa: N802
        self, request: pa_pb2.CloseSessionRequest, context: grpc.ServicerContext
    ) -> pa_pb2.CloseSessionResponse:
        """End the caller's session, and that of the token when one is sent."""
        self._sessions.close(client_of(context).seat, metadata_value(context, "authorization"))
        return pa_pb2.CloseSessionResponse()

    def EndorseCerts(  # noqa: N802
        self, request: pa_pb2.EndorseCertsRequest, context: grpc.ServicerContext
    ) -> pa_pb2.EndorseCertsResponse:
        """Sign TBS of a part that proves its origin; the answer means that it is counted."""
        station = self._access.station_of(client_of(context).certificate)
        devices = devices_of([(bundle.key_params.key_label, bundle.tbs) for bundle in request.bundles if bundle.tbs])
        self._quota.check(station.work_order, devices)
        with _spm_errors("EndorseCerts"):
            answer = self._spm.endorse_certs(request)
        self._quota.endorse(station.work_order, station.name, request.sku, devices)
        return answer

    def DeriveTokens(  # noqa: N802
        self, request: pa_pb2.DeriveTokensRequest, context: grpc.ServicerContext
    ) -> pa_pb2.DeriveTokensResponse:
        """Derive tokens."""
        with _spm_errors("DeriveTokens"):
            return self._spm.derive_tokens(request)

    def GetStoredTokens(  # noqa: N802
        self, request: pa_pb2.GetStoredTokensRequest, context: grpc.ServicerContext
    ) -> pa_pb2.GetStoredTokensResponse:
        """Not offered, as upstream."""
        with _spm_errors("GetStoredTokens"):
            raise Refusal("UNIMPLEMENTED", "stored tokens are not offered")

    def GetCaSubjectKeys(  # noqa: N802
        self, request: pa_pb2.GetCaSubjectKeysRequest, context: grpc.ServicerContext
    ) -> pa_pb2.GetCaSubjectKeysResponse:
        """Subject key ids of the CAs."""
        with _spm_errors("GetCaSubjectKeys"):
            return self._spm.ca_subject_keys(request)

    def GetCaCerts(  # noqa: N802
        self, request: pa_pb2.GetCaCertsRequest, context: grpc.ServicerContext
    ) -> pa_pb2.GetCaCertsResponse:
        """CA certificates."""
        with _spm_errors("GetCaCerts"):
            return self._spm.ca_certs(request)

    def GetOwnerFwBootMessage(  # noqa: N802
        self, request: pa_pb2.GetOwnerFwBootMessageRequest, context: grpc.ServicerContext
    ) -> pa_pb2.GetOwnerFwBootMessageResponse:
        """The boot text of a good part."""
        with _spm_errors("GetOwnerFwBootMessage"):
            return self._spm.boot_message(request)

    def RegisterDevice(  # noqa: N802
        self, request: pa_pb2.RegistrationRequest, context: grpc.ServicerContext
    ) -> pa_pb2.RegistrationResponse:
        """Verify, sign and store; the answer means that the record is durable."""
        client = client_of(context)
        station = self._access.station_of(client.certificate).name
        with _spm_errors("VerifyDeviceData"):
            outcome = register_device(self._spm, self._store, request, f"{station} {client.user}".strip())
        self._count_registered(request)
        context.set_trailing_metadata(
            (
                *(((REGISTRATION_KEY, outcome.value),) if outcome is not Outcome.NEW else ()),
                *self._note_journal(station, request),
            )
        )
        return pa_pb2.RegistrationResponse()

    def _note_journal(self, station: str, request: pa_pb2.RegistrationRequest) -> service_journal.Trailing:
        if self._store is None:
            return ()
        device_id = read_device_id(request.device_data.device_id).registry_hex
        return service_journal.at_registration(self._store.anchors, station, request, device_id)

    def _count_registered(self, request: pa_pb2.RegistrationRequest) -> None:
        """The record is durable by now: an account that cannot be written must not take the answer back."""
        blob = perso_blob.parse(request.device_data.perso_tlv_data, check_der=False, skip_unknown=True)
        try:
            self._quota.register(device_candidates(item.body for item in blob.certs(perso_blob.TYPES.X509_CERT)))
        except Refusal as refusal:
            log.error("a registered device still counts as unregistered: %s", refusal)


@contextmanager
def _spm_errors(call: str) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise Refusal(refusal.code, f"SPM.{call} returned error: {refusal}") from None
