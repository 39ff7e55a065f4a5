"""Records that the registry refuses or cannot digest: they take turns, and hold up no other one."""

from __future__ import annotations

from forward_bench import due_again, fill, settings_for, waiting
from registry_bench import http_registry

from station.appliance.forwarding import forwarder_of


def test_error_objects_hold_up_nobody_else(store, registry, forwarder):
    fill(store, 1, 2, 3)
    registry.answer = registry.refusing("0x0002")
    assert forwarder.forward() is True
    (record,) = store.waiting(10)
    assert (record.device_id, record.attempts, record.failure) == ("0x0002", 1, "3 INVALID_ARGUMENT no such device")
    assert record.next_try_ms > 0
    fill(store, 4)
    assert forwarder.forward() is True
    assert waiting(store) == ["0x0002"]
    assert registry.batches() == [["0x0001", "0x0002", "0x0003"], ["0x0004"]], "the refused one waits its time"
    due_again(store)
    assert forwarder.forward() is True
    assert store.waiting(10)[0].attempts == 2
    due_again(store)
    registry.answer = registry.good
    forwarder.forward()
    assert waiting(store) == []


def test_many_refused_records_do_not_fill_every_batch(store, registry, forwarder):
    """The oldest ones are refused for ever; a batch of ten is never made of them alone."""
    fill(store, *range(12))
    refused = [f"0x{number:04}" for number in range(11)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    assert waiting(store) == refused
    assert registry.batches()[1] == ["0x0010", "0x0011"]
    fill(store, 12)
    due_again(store)
    while forwarder.forward():
        pass
    assert waiting(store) == refused
    assert [len(batch) for batch in registry.batches()[2:]] == [1, 1, 2, 4, 4]
    assert registry.batches()[3] == ["0x0012"], "by turns"


def test_refused_records_that_are_always_due_hold_up_no_new_one(store, registry, forwarder):
    """A slow registry that refuses many: when the last one was sent again the first one is due again."""
    fill(store, *range(40))
    refused = [f"0x{number:04}" for number in range(40)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    for number in range(40, 60):
        fill(store, number)
        due_again(store)
        forwarder.forward()
        forwarder.forward()
        assert waiting(store) == refused, "every new record gets through with the next batch but one"
    assert min(record.attempts for record in store.waiting(100)) > 1, "and refused ones are tried too"


def test_what_was_refused_by_mistake_goes_in_batches_again(store, registry, forwarder):
    fill(store, *range(40))
    refused = [f"0x{number:04}" for number in range(40)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    registry.answer = registry.good
    due_again(store)
    while forwarder.forward():
        pass
    assert waiting(store) == []
    assert [len(batch) for batch in registry.batches()[4:]] == [1, 2, 4, 8, 10, 10, 5]


def test_a_record_that_fails_alone_makes_no_batch_smaller(store, registry, forwarder):
    registry.answer = registry.says(b"", 500)
    fill(store, 0)
    assert forwarder.forward() is False
    for number in range(1, 41, 10):
        registry.answer = registry.good
        fill(store, *range(number, number + 10))
        assert forwarder.forward() is True
        registry.answer = registry.says(b"", 500)
        due_again(store)
        assert forwarder.forward() is False
    assert waiting(store) == ["0x0000"]
    assert [len(batch) for batch in registry.batches()] == [1, 10, 1, 10, 1, 10, 1, 10, 1]


def test_of_records_that_all_failed_alone_each_gets_its_turn(store, registry, forwarder):
    """In an outage every one of them fails alone; the first one fails on when the registry is back."""
    fill(store, 0, 1, 2)
    registry.answer = registry.says(b"", 503)
    for _ in range(10):
        assert forwarder.forward() is False
    assert set(forwarder._alone) == {1, 2, 3}

    def chokes(handler, records):
        answer = registry.says(b"", 500) if records[0]["device_id"] == "0x0000" else registry.good
        answer(handler, records)

    registry.answer = chokes
    for _ in range(6):
        forwarder.forward()
    assert waiting(store) == ["0x0000"]
    assert store.backlog().failed == 1


def test_a_record_that_the_registry_cannot_digest_is_found_and_set_aside(store, registry, forwarder):
    """It answers 500 (or hangs up) as long as that record is in a batch: all others get through."""
    fill(store, *range(16))

    def chokes(handler, records):
        if any(record["device_id"] == "0x0005" for record in records):
            (registry.closes if len(records) % 2 else registry.says(b"", 500))(handler, records)
        else:
            registry.good(handler, records)

    registry.answer = chokes
    for _ in range(40):
        forwarder.forward()
    assert waiting(store) == ["0x0005"]
    posts = len(registry.bodies)
    assert posts < 25
    (record,) = store.waiting(10)
    assert record.attempts >= 1 and record.failure
    assert sorted(registry.accepted) == [f"0x{number:04}" for number in range(16) if number != 5]
    due_again(store)
    registry.answer = registry.good
    forwarder.forward()
    assert waiting(store) == []


def test_an_outage_is_held_against_no_record(store, registry, forwarder):
    """Everything fails for a long time, also one by one; then nothing waits that could go."""
    fill(store, *range(6))
    registry.answer = registry.says(b"", 503)
    for _ in range(30):
        assert forwarder.forward() is False
    assert {len(batch) for batch in registry.batches()} == {6, 3, 1}
    assert store.backlog().failed == 0
    registry.answer = registry.good
    while forwarder.forward():
        pass
    assert waiting(store) == []
    assert forwarder._alone == {}


def test_a_registry_that_is_not_there_is_nobodys_fault(store, caplog):
    with http_registry() as gone:
        pass
    forwarder = forwarder_of(store, settings_for(gone))
    fill(store, 1, 2)
    for _ in range(3):
        assert forwarder.forward() is False
    assert store.backlog() == type(store.backlog())(waiting=2, failed=0, oldest_ms=1_700_000_000_000)
    assert forwarder._untried.size == 10
    assert "failure 3 in a row" in caplog.text and "Connection refused" in caplog.text
