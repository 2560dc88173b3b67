"""The machine makes metrics and networks alike."""

from __future__ import annotations

from ibstats.measure import Machine


def test_the_machine_passes_weights_and_fetches_nothing_offline() -> None:
    machine = Machine("meta", 3, {"lpips_alex": "here.pth"})
    chosen = machine.offline().metric("lpips_alex")
    assert (chosen.weights, chosen.device, chosen.batch_size) == ("here.pth", "meta", 3)
    assert not chosen.download
    assert machine.metric("lpips_alex").download
    assert not any(one.download for one in machine.metrics())
    assert machine.network("clip", "owner/name").asked() == {"checkpoint": "owner/name"}
