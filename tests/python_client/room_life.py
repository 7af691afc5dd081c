"""A room's life through the client that was generated from the served description: room_life.py BASE_URL TOKEN."""

import sys
from datetime import UTC, datetime

from conclave_client import AuthenticatedClient
from conclave_client.api.conference_rooms import (
    create_conference_room,
    destroy_conference_room,
    get_conference_room,
    get_conference_room_status,
    list_conference_rooms,
    lock_conference_room,
    mute_conference_room,
    start_recording,
    stop_recording,
    unlock_conference_room,
    unmute_conference_room,
    update_conference_room,
)
from conclave_client.api.conference_servers import list_conference_servers
from conclave_client.api.participants import list_participants
from conclave_client.api.recordings import list_recordings
from conclave_client.models import Control, Mode, RoomChanges, RoomCreation
from conclave_client.models import ErrorCode, Errors, RoomState

EXTENSION = "98765"


def answered(operation, status, *args, **more):
    """What an operation answers; the client must know the status."""
    response = operation.sync_detailed(*args, client=client, **more)
    if response.status_code != status:
        raise SystemExit(f"{operation.__name__}: {response.status_code} {response.content!r}")
    return response.parsed


def refused(operation, status, code, *args, **more):
    """The fields that a refusal names."""
    errors = answered(operation, status, *args, **more)
    assert isinstance(errors, Errors), errors
    assert all(error.code == code for error in errors.errors), errors
    return [error.detail.field for error in errors.errors if error.detail]


def listed(**options):
    return answered(list_conference_rooms, 200, **options)


base_url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=base_url, token=token, raise_on_unexpected_status=True)

for stale in listed(filter_=f"extension_number eq '{EXTENSION}'").items:
    answered(destroy_conference_room, 204, stale.id)

creation = RoomCreation(
    extension_number=EXTENSION,
    mode=Mode.AUDIO,
    subject="A room's life",
    capacity=5,
    room_pin="13579",
    timezone="Europe/Berlin",
    scheduled_start_at=datetime(2030, 7, 21, 17, tzinfo=UTC),
    scheduled_end_at=datetime(2030, 7, 21, 18, tzinfo=UTC),
)
room = answered(create_conference_room, 201, body=creation).id
refused(create_conference_room, 409, ErrorCode.RESOURCE_IN_USE, body=creation)
impossible = RoomCreation(extension_number="12", mode=Mode.AUDIO, subject="", capacity=5)
assert refused(create_conference_room, 400, ErrorCode.VALIDATE_FAILED, body=impossible) == ["extension_number", "subject"]

shown = answered(get_conference_room, 200, room)
assert (shown.id, shown.extension_number, shown.mode, shown.control) == (room, EXTENSION, Mode.AUDIO, Control.FREE)
assert (shown.room_pin, shown.has_room_pin, shown.admin_pin) == ("13579", True, None)
assert shown.scheduled_start_at == creation.scheduled_start_at
assert shown.created_at.tzinfo is not None

page = listed(filter_=f"extension_number eq '{EXTENSION}' and capacity ge 5", search="LIFE", orderby="id desc", top=1)
assert (page.count, [item.id for item in page.items]) == (1, [room]), page

# What is absent stays; null takes away.
answered(update_conference_room, 200, room, body=RoomChanges(capacity=7, room_pin=None, control=Control.MASTER))
shown = answered(get_conference_room, 200, room)
assert (shown.capacity, shown.has_room_pin, shown.control, shown.subject) == (7, False, Control.MASTER, "A room's life")

answered(lock_conference_room, 200, room)
answered(mute_conference_room, 200, room)
status = answered(get_conference_room_status, 200, room)
assert (status.status, status.locked, status.muted, status.recording) == (RoomState.ONLINE, True, True, False), status
answered(unmute_conference_room, 200, room)
answered(unlock_conference_room, 200, room)
assert not answered(get_conference_room_status, 200, room).locked

assert answered(list_participants, 200, room).count == 0
assert answered(list_recordings, 200, room).items == []
refused(start_recording, 409, ErrorCode.INVALID_STATE, room)
answered(stop_recording, 200, room)

assert answered(list_conference_servers, 200).count >= 1
answered(destroy_conference_room, 204, room)
refused(get_conference_room, 404, ErrorCode.NOT_FOUND, room)
refused(destroy_conference_room, 404, ErrorCode.NOT_FOUND, room)
assert listed(filter_=f"extension_number eq '{EXTENSION}'").count == 0
print("a room lived and is gone")
