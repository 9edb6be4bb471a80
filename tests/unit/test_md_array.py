# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What md_array decides, from what mdadm 4.2 and 4.4 and the kernel really print (RAID10, three disks, n2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.filter.raid_arrays import raid_arrays
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import md_array
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.disk import Disk
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.md_array import Array, Member, View, Wanted

RECORDED = Path(__file__).parent / "recorded"
RELEASES = ("md_12", "md_13")
FOUR = ["/dev/b", "/dev/c", "/dev/d", "/dev/e"]
UUID = "35445543:a1184611:89e52258:9a2ef134"


def recorded(release: str, what: str, state: str) -> str:
    return (RECORDED / release / f"{what}_{state}").read_text(encoding="utf-8")


def array_of(release: str, state: str, states: dict[str, str] | None = None) -> Array:
    (array,) = md_array.parse_mdstat(recorded(release, "mdstat", state))
    return md_array.add_details(array, md_array.parse_export(recorded(release, "detail", state)), states or {})


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "state, active, action, members",
    [
        ("clean", 3, "", {"ubdb": "active", "ubdc": "active", "ubdd": "active"}),
        ("resync", 3, "resync", {"ubdb": "active", "ubdc": "active", "ubdd": "active"}),
        ("degraded", 2, "", {"ubdb": "active", "ubdc": "faulty", "ubdd": "active"}),
        ("recovery", 2, "recovery", {"ubdb": "active", "ubdc": "faulty", "ubdd": "active", "ubde": "rebuilding"}),
        ("spare", 3, "", {"ubdb": "active", "ubdc": "spare", "ubdd": "active", "ubde": "active"}),
        ("replacement", 3, "recovery", {"ubdb": "active", "ubdc": "replacement", "ubdd": "active", "ubde": "active"}),
        ("replaced", 3, "", {"ubdb": "faulty", "ubdc": "active", "ubdd": "active", "ubde": "active"}),
        ("check", 3, "check", {"ubdc": "active", "ubdd": "active", "ubde": "active"}),
        ("assembled", 3, "", {"ubdc": "active", "ubdd": "active", "ubde": "active"}),
    ],
)
def test_states(release: str, state: str, active: int, action: str, members: dict[str, str]) -> None:
    array = array_of(release, state, {"ubde": "spare"} if state == "recovery" else None)
    assert (array.kernel_name, array.level, array.devices, array.active) == ("md127", "10", 3, active)
    assert (array.name, array.layout, array.chunk_kib, array.bitmap) == ("rec", "n2", 512, True)
    assert array.action == action
    assert {member.path.rpartition("/")[2]: member.state for member in array.members} == members


@pytest.mark.parametrize("release", RELEASES)
def test_progress(release: str) -> None:
    array = array_of(release, "recovery")
    assert array.done_percent == 6.2
    assert array.minutes_left == 0.4
    assert array_of(release, "clean").done_percent is None


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_runs(release: str) -> None:
    assert md_array.parse_mdstat(recorded(release, "mdstat", "stopped")) == []


@pytest.mark.parametrize("release", RELEASES)
def test_a_member_says_whose_it_is(release: str) -> None:
    found = md_array.parse_export(recorded(release, "examine", "member"))
    assert md_array.name_of(found) == "rec"
    assert len(found["MD_UUID"]) == 35


def test_others_in_mdstat() -> None:
    found = md_array.parse_mdstat(
        "Personalities : [raid1] [raid0]\n"
        "md1 : active raid1 dm-3[1](W)(F) cciss!c0d0[0]\n      1024 blocks super 1.2 [2/1] [U_]\n"
        "      \tresync=PENDING\n\n"
        "md0 : active raid0 sdb[1] sda[0]\n      2048 blocks super 1.2 64k chunks\n\n"
        "md2 : inactive sdc[0](S)\n      1024 blocks super 1.2\n\nunused devices: <none>\n"
    )
    assert [(a.kernel_name, a.level, a.running) for a in found] == [
        ("md1", "1", True),
        ("md0", "0", True),
        ("md2", "", False),
    ]
    assert [(m.path, m.state) for m in found[0].members] == [("/dev/dm-3", "faulty"), ("/dev/cciss/c0d0", "active")]
    assert found[0].action == "resync"
    assert found[1].chunk_kib == 64


# ---- what is wanted


@pytest.mark.parametrize(
    "wanted, text",
    [
        (Wanted("1st", "10", FOUR), "'1st' is not 1 to 28 letters"),
        (Wanted("data", "5", FOUR), "level '5' is none of 10, 1, 0"),
        (Wanted("data", "10", ["/dev/b"]), "level 10 with layout n2 needs at least 4 devices, there are 1 (/dev/b)"),
        (Wanted("data", "10", FOUR[:2]), "(two disks are a RAID1: level 1)"),
        (
            Wanted("data", "10", [*FOUR, "/dev/f"]),
            "5 devices (/dev/b, /dev/c, /dev/d, /dev/e, /dev/f) cannot be divided by 2",
        ),
        (Wanted("data", "10", FOUR, layout="x2"), "layout 'x2' is not n, f or o"),
        (Wanted("data", "1", FOUR[:1]), "level 1 needs at least 2 devices, there are 1"),
        (Wanted("data", "10", [*FOUR[:3], "/dev/b"]), "/dev/b is named twice"),
        (Wanted("data", "10", FOUR, ["/dev/e"]), "/dev/e is named twice"),
        (Wanted("data", "0", FOUR[:2], ["/dev/e"]), "level 0 has no redundancy and no use for a spare (/dev/e)"),
        (Wanted("data", "10", FOUR, chunk_kib=100), "chunk is 100 KiB; it must be a power of two"),
    ],
)
def test_what_cannot_be_built(wanted: Wanted, text: str) -> None:
    assert text in md_array.wrong(wanted)


@pytest.mark.parametrize("layout, count", [("n2", 4), ("f2", 3), ("o2", 5), ("n3", 6), ("f2", 2)])
def test_what_can_be_built(layout: str, count: int) -> None:
    assert md_array.wrong(Wanted("data", "10", [f"/dev/v{n}" for n in range(count)], layout=layout)) == ""


def test_between_arrays() -> None:
    found = raid_arrays(
        [
            {"name": "data", "devices": FOUR, "mount": "/srv"},
            {"name": "data", "level": 1, "devices": ["/dev/e", "/dev/f"], "mount": "/srv"},
            {"name": "log", "level": 1, "devices": ["/dev/g", "/dev/e"], "filesystem": "none", "mount": "srv"},
        ]
    )
    assert found["arrays"][1]["level"] == "1"
    assert found["arrays"][0]["path"] == "/dev/md/data"
    assert found["wrong"] == [
        "log: it is to be mounted at srv without a filesystem; name one, or no mount",
        "log: mount is 'srv', not an absolute path",
        "two arrays are called 'data'",
        "/dev/e is named twice: in data and in log. Each disk once",
        "two arrays are to be mounted at /srv",
    ]


# ---- what is done


def wanted(**more: object) -> Wanted:
    return Wanted("data", "10", list(FOUR), **more)  # type: ignore[arg-type]


def disks(**more: Disk) -> dict[str, Disk]:
    found = {path: Disk(path, found=True, size=1 << 30) for path in [*FOUR, "/dev/f", "/dev/g"]}
    found.update({f"/dev/{name}": disk for name, disk in more.items()})
    return found


def running(*states: str, active: int = 4, action: str = "", paths: list[str] | None = None) -> Array:
    members = [Member(path, n, state) for n, (path, state) in enumerate(zip(paths or FOUR, states, strict=True))]
    return Array(
        "md127", True, "10", 4, active, "n2", 512, True, UUID, "data", action, 10.0 if action else None, 3.0, members
    )


WHOLE = ("active",) * 4
MINE = {"MD_UUID": UUID, "MD_NAME": "any:data"}


def test_created_on_empty_disks() -> None:
    plan = md_array.plan_present(View(disks=disks()), wanted(spares=["/dev/f"]), UUID)
    assert plan.commands == [
        ["mdadm", "--create", "/dev/md/data", "--run", "--metadata=1.2", "--name=data", "--homehost=any"]
        + [f"--uuid={UUID}", "--level=10", "--raid-devices=4", "--layout=n2", "--chunk=512", "--bitmap=internal"]
        + ["--spare-devices=1", *FOUR, "/dev/f"]
    ]


def test_levels_have_their_own_options() -> None:
    mirror = md_array.create(Wanted("log", "1", FOUR[:2], bitmap=False), UUID)
    assert "--bitmap=none" in mirror and not [word for word in mirror if word.startswith(("--chunk", "--layout"))]
    stripe = md_array.create(Wanted("tmp", "0", FOUR[:2]), UUID)
    assert "--chunk=512" in stripe and not [word for word in stripe if word.startswith(("--bitmap", "--layout"))]


@pytest.mark.parametrize(
    "disk, word, texts",
    [
        (Disk("/dev/c"), "missing", ["/dev/c is not there", "lsblk"]),
        (
            Disk("/dev/c", found=True, size=1 << 30, signatures=["ext4"]),
            "foreign",
            ["/dev/c holds data (found: ext4)", "`wipefs /dev/c`", "set raid10_disk_allow_wipe: true"],
        ),
        (
            Disk("/dev/c", found=True, size=1 << 30, signatures=["xfs"], busy=True, used_by="it is mounted at /home"),
            "foreign",
            ["/dev/c is in use: it is mounted at /home", "never taken for data"],
        ),
        (
            Disk("/dev/c", found=True, size=1 << 30, signatures=["linux_raid_member"]),
            "foreign",
            ["mdadm is not installed", "apt-get install mdadm"],
        ),
        (
            Disk("/dev/c", found=True, size=900 << 20),
            "absent",
            ["/dev/c (900 MiB) is 12.1 % smaller than /dev/b (1024 MiB), 1 % are tolerated"],
        ),
    ],
)
def test_disks_that_are_not_taken(disk: Disk, word: str, texts: list[str]) -> None:
    view = View(disks=disks(c=disk))
    plan = md_array.plan_present(view, wanted(wipe_variable="raid10_disk_allow_wipe"), UUID)
    assert md_array.classify(view, wanted()) == word
    assert plan.commands == []
    for text in texts:
        assert text in plan.refusal


def test_a_permission_wipes_what_is_not_in_use_and_nothing_else() -> None:
    view = View(disks=disks(c=Disk("/dev/c", found=True, size=1 << 30, signatures=["ext4"])))
    plan = md_array.plan_present(view, wanted(allow_wipe=True), UUID)
    assert [command[0] for command in plan.commands] == ["wipefs", "blkdiscard", "mdadm"]
    view.disks["/dev/c"].busy, view.disks["/dev/c"].used_by = True, "it is mounted at /home"
    assert "in use" in md_array.plan_present(view, wanted(allow_wipe=True), UUID).refusal


def test_another_arrays_member_is_named() -> None:
    view = View(disks=disks(c=Disk("/dev/c", found=True, signatures=["linux_raid_member"])))
    view.superblocks["/dev/c"] = {"MD_NAME": "old:backup", "MD_UUID": UUID}
    assert f"of the array old:backup, UUID {UUID}" in md_array.plan_present(view, wanted()).refusal


def test_a_stopped_array_is_assembled_when_it_is_whole() -> None:
    member = Disk("/dev/c", found=True, signatures=["linux_raid_member"])
    view = View(disks=disks(b=member, c=member, d=member, e=member), superblocks=dict.fromkeys(FOUR, MINE))
    assert md_array.classify(view, wanted()) == "stopped"
    assert md_array.plan_present(view, wanted()).commands == [["mdadm", "--assemble", "/dev/md/data", f"--uuid={UUID}"]]
    del view.superblocks["/dev/d"]
    view.disks["/dev/d"] = Disk("/dev/d")
    assert md_array.classify(view, wanted()) == "incomplete"
    refusal = md_array.plan_present(view, wanted()).refusal
    assert "stopped and not complete: /dev/d is not there" in refusal
    assert "`mdadm --assemble --run /dev/md/data /dev/b /dev/c /dev/e`" in refusal


def test_a_whole_array_is_left_alone() -> None:
    view = View(running(*WHOLE), disks())
    assert md_array.classify(view, wanted()) == "clean"
    assert md_array.plan_present(view, wanted()) == md_array.Plan()


@pytest.mark.parametrize(
    "change, text",
    [
        ({"level": "1"}, "exists with level 1, wanted 10"),
        ({"devices": 6}, "exists with 6 devices, wanted 4"),
        ({"layout": "f2"}, "exists with layout f2, wanted n2"),
        ({"chunk_kib": 64}, "exists with chunk 64 KiB, wanted 512"),
        ({"name": "other"}, "are the array other"),
    ],
)
def test_another_array_is_not_rebuilt(change: dict[str, object], text: str) -> None:
    array = running(*WHOLE)
    for name, value in change.items():
        setattr(array, name, value)
    view = View(array, disks())
    assert md_array.classify(view, wanted()) == "different"
    assert text in md_array.plan_present(view, wanted()).refusal


def test_other_disks_than_named() -> None:
    view = View(running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/d", "/dev/g"]), disks())
    refusal = md_array.plan_present(view, wanted()).refusal
    assert "has /dev/g, which the inventory does not name" in refusal
    assert "(/dev/e) are to take their place: playbooks/replace_disk.yml" in refusal


def test_a_lost_member_is_taken_back_and_a_new_disk_is_not() -> None:
    three = running(*WHOLE[:3], active=3, paths=FOUR[:3])
    view = View(three, disks(), superblocks={"/dev/e": MINE})
    assert md_array.classify(view, wanted()) == "degraded"
    assert md_array.plan_present(view, wanted()).commands == [
        ["mdadm", "--manage", "/dev/md/data", "--re-add", "/dev/e"]
    ]
    view.superblocks = {}
    plan = md_array.plan_present(view, wanted())
    assert plan.commands == [] and "run playbooks/replace_disk.yml" in plan.notes[0]


def test_a_former_member_is_not_taken_for_a_spare() -> None:
    view = View(running(*WHOLE), disks(), superblocks={"/dev/f": MINE})
    plan = md_array.plan_present(view, wanted(spares=["/dev/f"]))
    assert plan.commands == [] and "/dev/f was part of data once and is not now" in plan.notes[0]
    assert "`mdadm --zero-superblock /dev/f; " in plan.notes[0]
    assert md_array.plan_replaced(view, wanted(spares=["/dev/f"])).commands == []


def test_a_former_member_may_fill_an_empty_place_unless_it_failed_just_now() -> None:
    three = running(*WHOLE[:3], active=3, paths=FOUR[:3])
    view = View(three, disks(), superblocks={"/dev/e": MINE})
    add = [["mdadm", "--manage", "/dev/md/data", "--add", "/dev/e"]]
    assert md_array.plan_replaced(view, wanted()).commands == add
    assert "names no new disk" in md_array.plan_replaced(view, wanted(), failed=["/dev/e"]).refusal


def test_a_spare_is_added() -> None:
    view = View(running(*WHOLE), disks())
    add = [["mdadm", "--manage", "/dev/md/data", "--add", "/dev/f"]]
    assert md_array.plan_present(view, wanted(spares=["/dev/f"])).commands == add
    view.disks["/dev/f"].signatures = ["swap"]
    assert "/dev/f holds data (found: swap)" in md_array.plan_present(view, wanted(spares=["/dev/f"])).refusal
    view.disks["/dev/f"] = Disk("/dev/f", found=True, size=1 << 20)
    assert "smaller" in md_array.plan_present(view, wanted(spares=["/dev/f"])).refusal


# ---- a disk is replaced


def test_an_empty_place_is_filled() -> None:
    view = View(running("active", "active", "active", "faulty", active=3), disks())
    view.array.members[3].path = "/dev/gone"  # type: ignore[union-attr]
    assert md_array.plan_replaced(view, wanted()).commands == [
        ["mdadm", "--manage", "/dev/md/data", "--remove", "failed"],
        ["mdadm", "--manage", "/dev/md/data", "--add", "/dev/e"],
    ]


def test_a_working_disk_is_kept_until_the_new_one_is_whole() -> None:
    view = View(running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/d", "/dev/g"]), disks())
    assert md_array.plan_replaced(view, wanted()).commands == [
        ["mdadm", "--manage", "/dev/md/data", "--add", "/dev/e"],
        ["mdadm", "--manage", "/dev/md/data", "--replace", "/dev/g", "--with", "/dev/e"],
    ]
    after = running(*WHOLE, "faulty", paths=[*FOUR, "/dev/g"])
    assert md_array.plan_replaced(View(after, disks()), wanted()).commands == [
        ["mdadm", "--manage", "/dev/md/data", "--remove", "failed"]
    ]
    assert md_array.plan_replaced(View(running(*WHOLE), disks()), wanted()) == md_array.Plan()


@pytest.mark.parametrize(
    "view, text",
    [
        (View(None, disks()), "does not run (absent)"),
        (
            View(running(*WHOLE, active=3, action="recovery"), disks()),
            "is recovering (10 %, 3 minutes left). Until that is through it cannot afford to lose a disk",
        ),
        (
            View(running("active", "active", "active", "faulty", active=3), disks()),
            "lacks 1 of 4 disks (/dev/e failed), and the inventory names no new disk",
        ),
        (
            View(running("active", "active", "active", active=3, paths=["/dev/b", "/dev/c", "/dev/g"]), disks()),
            "lacks 1 of 4 disks and cannot afford to give up /dev/g, too",
        ),
        (
            View(running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/f", "/dev/g"]), disks()),
            "/dev/f, /dev/g of data are to be replaced at once. One after another",
        ),
        (
            View(running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/d", "/dev/g"]), disks(e=Disk("/dev/e"))),
            "/dev/e is not there",
        ),
        (
            View(
                running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/d", "/dev/g"]),
                disks(e=Disk("/dev/e", found=True, size=1 << 30, signatures=["xfs"])),
            ),
            "/dev/e holds data (found: xfs)",
        ),
        (
            View(
                running(*WHOLE, paths=["/dev/b", "/dev/c", "/dev/d", "/dev/g"]),
                disks(e=Disk("/dev/e", found=True, size=1 << 29)),
            ),
            "/dev/e (512 MiB) is smaller than the disks of data (1024 MiB)",
        ),
    ],
)
def test_what_an_array_cannot_afford(view: View, text: str) -> None:
    plan = md_array.plan_replaced(view, wanted())
    assert plan.commands == []
    assert text in plan.refusal


def test_a_stripe_has_nothing_to_lose() -> None:
    stripe = Array(
        "md127", True, "0", 2, 2, "", 512, False, UUID, "tmp", members=[Member("/dev/b", 0), Member("/dev/g", 1)]
    )
    plan = md_array.plan_replaced(View(stripe, disks()), Wanted("tmp", "0", FOUR[:2]))
    assert "is a RAID0, which has no redundancy" in plan.refusal


# ---- mdadm.conf


def test_one_line_for_each_array() -> None:
    before = (
        "HOMEHOST <system>\n"
        f"ARRAY /dev/md127 metadata=1.2 UUID={UUID.upper()} name=db1:data\n"
        "ARRAY /dev/md/log metadata=1.2 UUID=1:2:3:4\n"
    )
    after = md_array.with_array_line(before, wanted(), UUID)
    assert after == (
        f"HOMEHOST <system>\nARRAY /dev/md/log metadata=1.2 UUID=1:2:3:4\nARRAY /dev/md/data metadata=1.2 UUID={UUID}\n"
    )
    assert md_array.with_array_line(after, wanted(), UUID) == after
    assert md_array.with_array_line("", wanted(), UUID) == f"ARRAY /dev/md/data metadata=1.2 UUID={UUID}\n"
