"""The readable pages: what stands in spec/pages is what the clauses, the formulas and the laws give."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from assay import cli
from assay.spec import CLAUSES, OPERATORS, pages_text
from assay.tests.trial.laws import all_laws

FOLDER = Path(pages_text.__file__).parent / "pages"
PLANTED = SimpleNamespace(
    clause="swish.zero", tried="exact", name="test_nothing_gives_nothing", sentence="a | b *c* <d>.", blind="the rest"
)


def rendered():
    return pages_text.pages(all_laws())


def test_the_written_pages_are_the_rendered_ones():
    written = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
    expected = rendered()
    stale = sorted(name for name in written.keys() | expected if written.get(name) != expected.get(name))
    assert not stale, f"{', '.join(stale)} in spec/pages differ from the spec; run `make pages`"


def test_each_chapter_and_the_index_have_a_page():
    assert set(rendered()) == {"index.md", "contract.md", *(f"{name}.md" for name in OPERATORS)}


@pytest.mark.parametrize("identifier", CLAUSES)
def test_a_clause_is_a_heading_and_a_line_of_the_index(identifier):
    texts, clause = rendered(), CLAUSES[identifier]
    assert texts[f"{clause.chapter}.md"].count(f"\n## {identifier}\n") == 1
    anchor = identifier.replace(".", "")
    assert texts["index.md"].count(f"[{identifier}]({clause.chapter}.md#{anchor}) | {clause.kind} |") == 1


def test_a_page_of_an_operator_shows_its_formula():
    for name, text in rendered().items():
        operator = OPERATORS.get(name.removesuffix(".md"))
        assert operator is None or f"\n{operator.formula}\n" in text


def test_a_law_stands_under_its_clause_with_its_blind_spot():
    text = pages_text.pages([PLANTED])["swish.md"]
    section = text.partition("## swish.zero")[2].partition("\n## ")[0]
    assert r"| nothing gives nothing | exact | a \| b \*c\* \<d>. | the rest |" in section
    assert text.count("nothing gives nothing") == 1


def test_a_clause_without_a_law_says_so():
    assert "No law decides it yet." in pages_text.pages([])["pad2d.md"]


def test_every_row_of_a_table_has_as_many_columns_as_its_head():
    for text in [*rendered().values(), *pages_text.pages([PLANTED]).values()]:
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_rendering_twice_gives_the_same():
    assert rendered() == rendered()


def test_a_page_that_is_no_longer_rendered_is_removed_and_a_check_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    (tmp_path / "spec").mkdir()
    assert cli.main(["pages", "--check"]) == 1
    assert not (tmp_path / "spec" / "pages").exists()
    assert (cli.main(["pages"]), cli.main(["pages", "--check"])) == (0, 0)
    (tmp_path / "spec" / "pages" / "softmax.md").write_text("of an operator that is gone")
    capsys.readouterr()
    assert [cli.main(["pages", *words]) for words in (["--check"], [], ["--check"])] == [1, 0, 0]
    assert capsys.readouterr().out.splitlines()[1:] == ["spec/pages/softmax.md removed"]
    assert set(os.listdir(tmp_path / "spec" / "pages")) == set(rendered())
