# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which roles are verticals."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.barberpro.platform.plugins.filter.verticals import FilterModule

verticals = FilterModule().filters()["verticals"]


def test_only_roles_that_inherit_the_base_template_are_verticals(tmp_path: Path) -> None:
    for name, meta in {
        "spa": "dependencies: [{role: barberpro.platform.vertical_base}]",
        "clinic": "dependencies: [barberpro.platform.vertical_base]",
        "pipeline": "dependencies: []",
        "empty": "",
    }.items():
        (tmp_path / name / "meta").mkdir(parents=True)
        (tmp_path / name / "meta" / "main.yml").write_text(meta)
    (tmp_path / "without_meta").mkdir()
    assert verticals(str(tmp_path)) == ["clinic", "spa"]


def test_this_collection_has_the_barbershop() -> None:
    assert "barbershop" in verticals(str(Path(__file__).parents[3] / "roles"))
