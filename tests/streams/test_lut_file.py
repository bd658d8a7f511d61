"""Look-up table files: every form, every kind of damage, and the published tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.errors import BadInput
from scout40.streams.lut_file import MAX_BYTES, MAX_IN, LutFile, read_lut

TXT = "# a comment\n#<header> V1 2 4 </header>\n0 7\n1 15 # fifteen\n\n3 0\n2 10\n"
LUT = "# a comment\nCONTENT_VECTOR= 7 15\n 10 0\n"
COE = (
    "; a comment\nmemory_initialization_radix=16; so\nmemory_initialization_vector=7,\nf,\n"
    "a, 0; end\n"
)
MIF = "0111\r\n1111\r\n\r\n1010\r\n0000\r\n"
FORMS = {".txt": TXT, ".lut": LUT, ".coe": COE, ".mif": MIF}


def read(folder: Path, suffix: str, text: str) -> LutFile:
    path = folder / f"table{suffix}"
    path.write_bytes(text.encode("latin-1"))
    return read_lut(path)


@pytest.mark.parametrize("suffix", FORMS)
def test_the_same_table_in_every_form(tmp_path: Path, suffix: str) -> None:
    table = read(tmp_path, suffix, FORMS[suffix])
    assert (table.name, table.n_in, table.n_out) == ("table", 2, 4)
    assert table.values.dtype == np.int64
    assert table.values.tolist() == [7, 15, 10, 0]
    with pytest.raises(ValueError, match="read-only"):
        table.values[0] = 1


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    assert read(tmp_path, ".MIF", MIF).values.tolist() == [7, 15, 10, 0]


@pytest.mark.parametrize("version", ["V1", "V8", "v1", "V10.0", "2024/06"])
def test_the_version_in_the_header_is_any_word(tmp_path: Path, version: str) -> None:
    table = read(tmp_path, ".txt", TXT.replace("V1", version))
    assert (table.n_in, table.n_out, table.values.tolist()) == (2, 4, [7, 15, 10, 0])


def test_widths_that_are_not_written_come_from_the_values(tmp_path: Path) -> None:
    assert read(tmp_path, ".lut", "CONTENT_VECTOR= 0 0").n_out == 1
    assert read(tmp_path, ".lut", "CONTENT_VECTOR= 0 8").n_out == 4
    assert read(tmp_path, ".mif", "0000\n0001\n").n_out == 4


BAD = {
    # name: (suffix, text, what the message says)
    "other suffix": (".csv", "0 1", "expected a file ending in .txt, .lut, .coe, .mif"),
    "txt empty": (".txt", "", "field header: no '#<header>"),
    "txt no header": (".txt", "0 7\n", "field header: line 1: expected '#<header>"),
    "txt no version": (".txt", "#<header> 2 4 </header>", "line 1: expected 'version n_in n_out'"),
    "txt long header": (".txt", "#<header> V 1 2 4 </header>", "line 1: expected 'version n_in n"),
    "txt empty header": (".txt", "#<header></header>", "field header: line 1: expected 'version"),
    "txt no width": (".txt", "#<header> V8 x 4 </header>", "field header: line 1: 'x' is no numb"),
    "txt two headers": (".txt", TXT + "#<header> V1 2 4 </header>", "line 8: a second header"),
    "txt huge address": (".txt", "#<header> V1 60 4 </header>", "field n_in: line 1: 60 bits"),
    "txt huge value": (".txt", "#<header> V1 2 64 </header>", "field n_out: line 1: 64 bits"),
    "txt missing": (".txt", TXT.replace("3 0\n", ""), "1 of 4 addresses have no value, .* is 3"),
    "txt double": (".txt", TXT.replace("3 0", "1 0"), "field address: line 6: 1 has a value alre"),
    "txt out of range": (".txt", TXT.replace("3 0", "4 0"), "line 6: 4 does not fit 2 bits"),
    "txt value too large": (".txt", TXT.replace("3 0", "3 16"), "field value: line 6: 16 does not"),
    "txt negative": (".txt", TXT.replace("3 0", "3 -1"), "'-1' is no number in base 10"),
    "txt underscore": (".txt", TXT.replace("1 15", "1 1_5"), "'1_5' is no number"),
    "txt columns": (".txt", TXT.replace("3 0", "3 0 0"), "3 columns, expected an address and a"),
    "txt long number": (".txt", TXT.replace("3 0", "3 " + "1" * 5000), "is no number in base 10"),
    "lut empty": (".lut", "", "0 values, expected a power of two"),
    "lut no name": (".lut", "1 2 3 4", "line 1: expected 'CONTENT_VECTOR=' first"),
    "lut two": (".lut", LUT + "CONTENT_VECTOR= 1", "line 4: expected one 'CONTENT_VECTOR='"),
    "lut no equals": (".lut", "CONTENT_VECTOR 1 2", "line 1: expected one 'CONTENT_VECTOR='"),
    "lut count": (".lut", "CONTENT_VECTOR= 1 2 3", "3 values, expected a power of two"),
    "lut value": (".lut", "CONTENT_VECTOR= 1 4294967296", "4294967296 does not fit 32 bits"),
    "coe no radix": (".coe", COE[COE.index("memory_initialization_v") :], "line 1: no memory_init"),
    "coe radix": (".coe", COE.replace("=16", "=8"), "line 2: 8, expected 2, 10 or 16"),
    "coe two radixes": (".coe", COE.replace(" so", "\nmemory_initialization_radix=2;"), "a second"),
    "coe keyword": (".coe", "width=4;", "field width: line 1: expected 'memory_initialization_r"),
    "coe digit": (".coe", COE.replace("f,", "g,"), "line 4: 'g' is no number in base 16"),
    "coe cut short": (".coe", COE[: COE.rindex(";")], "no ';' after the values"),
    "coe count": (".coe", COE.replace("a, 0", "a"), "3 values, expected a power of two"),
    "mif width": (".mif", MIF.replace("1010", "010"), "line 4: 3 digits, expected 4"),
    "mif too wide": (".mif", "0" * 33 + "\n", "line 1: 33 digits, expected 32"),
    "mif digit": (".mif", MIF.replace("1010", "1020"), "line 4: '1020' is no number in base 2"),
    "mif count": (".mif", MIF + "0000\n", "5 values, expected a power of two"),
    "mif one value": (".mif", "1\n", "1 values, expected a power of two"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    suffix, text, message = BAD[case]
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path, suffix, text)
    assert str(caught.value).startswith(f"file {tmp_path / 'table'}{suffix}")


def test_sizes_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="larger than any look-up table"):
        read(tmp_path, ".txt", "#" * (MAX_BYTES + 1))
    with pytest.raises(BadInput, match=rf"line 2: more than 2\^{MAX_IN} values"):
        read(tmp_path, ".lut", "CONTENT_VECTOR=" + " 1" * (1 << MAX_IN) + "\n1")


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.integers(0, 1023), min_size=1 << n, max_size=1 << n)
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], order: object
) -> None:
    folder = tmp_path_factory.mktemp("luts")
    n_in = len(values).bit_length() - 1
    lines = [f"{address} {value}" for address, value in enumerate(values)]
    order.shuffle(lines)  # type: ignore[attr-defined]
    vector = "memory_initialization_vector="
    texts = {
        ".txt": f"#<header> V1 {n_in} 10 </header>\n" + "\n".join(lines),
        ".lut": "CONTENT_VECTOR= " + " ".join(map(str, values)),
        ".coe": f"memory_initialization_radix=2;\n{vector}{','.join(map('{:b}'.format, values))};",
        ".mif": "\n".join(map("{:010b}".format, values)),
    }
    for suffix, text in texts.items():
        table = read(folder, suffix, text)
        assert table.n_in == n_in
        assert table.values.tolist() == values
        wide = suffix in (".txt", ".mif")
        assert table.n_out == (10 if wide else max(1, max(values).bit_length()))


OTHER_VERSIONS = {
    # the .lut and .coe files are older: no extrapolation in eta, 13 address bits
    *(f"{kind}EtaExtrapolation" for kind in "BO"),
    # .coe: an older table of 14 address bits, empty
    *(f"{kind}PhiExtrapolation" for kind in "BOF"),
    # .coe: 63 beyond the last bin of azimuth, where the others have 0
    "IdxSelMemPhi",
    # .lut and .coe are empty; .mif has an eighth address bit that changes nothing
    *(f"{kind}MatchQual" for kind in ("BONeg", "BOPos")),
    *(f"{kind}MatchQual" for kind in ("EONeg", "EOPos", "EmtfNegSingle", "EmtfPosSingle")),
    *(f"{kind}MatchQual" for kind in ("OmtfNegSingle", "OmtfPosSingle")),
    # .mif is empty
    "BmtfSingleMatchQual",
}
"""Names under which the forms hold different versions of a table."""


def published(reference: Path) -> dict[str, dict[str, LutFile]]:
    """name -> suffix -> table of the reference data."""
    found: dict[str, dict[str, LutFile]] = {}
    for path in sorted((reference / "ugmt_luts").rglob("*")):
        if path.suffix in FORMS:
            found.setdefault(path.stem, {})[path.suffix] = read_lut(path)
    return found


def test_published_tables_agree_in_all_forms(reference: Path) -> None:
    tables = published(reference)
    assert sum(map(len, tables.values())) == 115
    pairs = 0
    for name, forms in tables.items():
        first, *others = forms.values()
        equal = [np.array_equal(first.values, other.values) for other in others]
        assert all(equal) == (name not in OTHER_VERSIONS), name
        pairs += sum(equal)
    assert pairs == 38


def test_published_tables_that_differ_do_so_as_described(reference: Path) -> None:
    tables = published(reference)
    for kind in "BO":
        assert not any(form.values.any() for form in tables[f"{kind}EtaExtrapolation"].values())
    for kind in "BOF":
        forms = tables[f"{kind}PhiExtrapolation"]
        assert not forms[".coe"].values.any()
        assert forms[".lut"].values.any()
    phi = tables["IdxSelMemPhi"]
    differ = np.flatnonzero(phi[".coe"].values != phi[".txt"].values)
    assert differ.tolist() == list(range(570, 1024))
    for name in OTHER_VERSIONS:
        if name.endswith("MatchQual") and name != "BmtfSingleMatchQual":
            narrow, wide = tables[name][".txt"].values, tables[name][".mif"].values
            assert wide.tolist() == 2 * narrow.tolist()
    assert not tables["BmtfSingleMatchQual"][".mif"].values.any()


def test_headers_agree_with_file_names(reference: Path) -> None:
    """The names say the widths: 5eta_7pt_4out."""
    count = 0
    for name, forms in published(reference).items():
        if found := re.search(r"_(\d)eta_(\d)pt_(\d)out", name):
            table = forms[".txt"]
            assert table.n_in == int(found[1]) + int(found[2])
            assert table.n_out == int(found[3])
            count += 1
    assert count == 13
