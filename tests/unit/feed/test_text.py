"""Normal form, length in code points, folding: the same answer on every device and engine."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed import text
from feed.errors import Fault

E_ACUTE, E_AND_ACUTE = "\u00e9", "e\u0301"  # one code point, and two that look the same


def pointer_of(check: object, *arguments: object, **options: object) -> str:
    with pytest.raises(Fault) as caught:
        check(*arguments, **options)  # type: ignore[operator]
    return caught.value.pointer


# --- clean -----------------------------------------------------------------------------------------------------------


def test_text_is_stored_composed_and_without_white_space_around_it() -> None:
    assert text.clean(f"  {E_AND_ACUTE}t\u00a0\n", "/text", most=10) == f"{E_ACUTE}t"


def test_length_is_counted_in_code_points_after_composing() -> None:
    assert text.clean(E_AND_ACUTE * 5, "/text", most=5) == E_ACUTE * 5
    assert text.clean("\U0001f600" * 5, "/text", most=5) == "\U0001f600" * 5
    assert pointer_of(text.clean, "x" * 6, "/text", most=5) == "/text"


def test_white_space_alone_is_empty() -> None:
    assert pointer_of(text.clean, " \t\n\u2003", "/name", least=1, most=5) == "/name"
    assert text.clean(" \n ", "/bio", most=5) == ""


def test_too_short_says_how_much_is_wanted() -> None:
    with pytest.raises(Fault, match="At least 3 characters"):
        text.clean("ab", "/name", least=3, most=5)


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ud800"])
@pytest.mark.parametrize("lines", [True, False])
def test_control_characters_and_half_characters_are_refused(character: str, lines: bool) -> None:
    assert pointer_of(text.clean, f"a{character}b", "/text", most=10, lines=lines) == "/text"


def test_line_breaks_become_one_kind_where_lines_are_allowed() -> None:
    assert text.clean("a\r\nb\rc\n\td", "/text", most=20, lines=True) == "a\nb\nc\n\td"


@pytest.mark.parametrize("character", ["\n", "\r", "\t"])
def test_a_single_line_takes_no_line_break_and_no_tab(character: str) -> None:
    assert pointer_of(text.clean, f"a{character}b", "/name", most=10) == "/name"


@pytest.mark.parametrize("blank", ["\u200b", "\u3164", "\u2800", "\u2060\u200d"])
def test_characters_that_show_nothing_are_no_name(blank: str) -> None:
    assert not text.is_visible(blank)
    assert pointer_of(text.clean, blank, "/name", least=1, most=5) == "/name"


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2069"])
def test_a_name_cannot_turn_what_stands_behind_it_and_a_text_of_lines_can(character: str) -> None:
    assert pointer_of(text.clean, f"a{character}b", "/name", most=10) == "/name"
    assert text.clean(f"a{character}b", "/text", most=10, lines=True) == f"a{character}b"


@given(st.text(max_size=40), st.booleans())
def test_what_was_cleaned_is_clean(words: str, lines: bool) -> None:
    try:
        once = text.clean(words, "/text", most=60, lines=lines)
    except Fault:
        return
    assert text.clean(once, "/text", most=60, lines=lines) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode()


# --- usernames -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("ada", "ada"), ("Ada.Lovelace_1", "ada.lovelace_1"), ("x" * 30, "x" * 30), ("a.b", "a.b")],
)
def test_a_username_is_folded(typed: str, kept: str) -> None:
    assert text.username(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ab",
        "x" * 31,
        "a b",
        "ada!",
        "ad\u00e4",
        "ada\n",
        " ada",
        "\u0430da",
        "\uff21\uff24\uff21",
        "ada@home",
        "a-b-c",
    ],
)
def test_anything_else_is_no_username(typed: str) -> None:
    assert pointer_of(text.username, typed) == "/username"


# --- the other fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["a@b", "ada+news@example.org", "x" * 64 + "@example.org", " ada@example.org "])
def test_an_address_that_could_exist_is_taken(address: str) -> None:
    assert text.email(address) == address.strip()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "a@b@c",
        "a b@c.org",
        "a@b\x07c.org",
        "a@b.org\nBcc: c@d.org",
        "<a@b.org>",
        "x" * 65 + "@example.org",
        "a@" + "b" * 190,
    ],
)
def test_an_address_that_cannot_exist_or_would_inject_is_refused(address: str) -> None:
    assert pointer_of(text.email, address) == "/email"


@pytest.mark.parametrize("tag", ["en", "pt-BR", "zh-Hant-TW", "de-CH-1996"])
def test_a_language_tag_is_taken(tag: str) -> None:
    assert text.locale(tag) == tag


@pytest.mark.parametrize("tag", ["", "e", "english!", "en_US", "en-", "x" * 36, "en\n"])
def test_what_is_no_language_tag_is_refused(tag: str) -> None:
    assert pointer_of(text.locale, tag) == "/locale"


def test_time_zones_are_those_of_the_database() -> None:
    assert text.timezone("Europe/Budapest") == "Europe/Budapest"
    for name in ("", "Europe/Atlantis", "../../etc/passwd", "europe/budapest"):
        assert pointer_of(text.timezone, name) == "/timezone"


# --- passwords -------------------------------------------------------------------------------------------------------


def test_a_password_is_hashed_composed_and_otherwise_as_it_was_typed() -> None:
    assert text.password(f" {E_AND_ACUTE} spaces count ") == f" {E_ACUTE} spaces count "


@pytest.mark.parametrize("length", [8, 256])
def test_a_password_of_a_length_at_the_edge_is_taken(length: int) -> None:
    typed = ("qz7!kw" * 50)[:length]
    assert text.password(typed) == typed


@pytest.mark.parametrize("length", [0, 7, 257])
def test_a_password_of_another_length_is_refused(length: int) -> None:
    assert pointer_of(text.password, ("qz7!kw" * 50)[:length], pointer="/new") == "/new"


@pytest.mark.parametrize("typed", ["password", "PassWord", "12345678", "iloveyou", "qwertyuiop"])
def test_a_common_password_is_refused_however_it_is_written(typed: str) -> None:
    assert pointer_of(text.password, typed) == "/password"


def test_the_own_username_is_no_password() -> None:
    assert pointer_of(text.password, "Ada.Lovelace", username="ada.lovelace") == "/password"
    assert text.password("Ada.Lovelace", username="grace.hopper") == "Ada.Lovelace"


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found_by"),
    [
        ("\u00c9va Kov\u00e1cs", ["eva", "kovacs"]),
        ("STRASSE Stra\u00dfe", ["strasse"]),
        ("\u0130stanbul", ["istanbul"]),
        ("\uff21da", ["ada"]),
        ("O'Neil-Smith", ["neil", "o", "smith"]),
        ("x" * 50, ["x" * 30]),
        ("\u4e2d\u6587 \u540d", ["\u4e2d\u6587", "\u540d"]),
        ("!?", []),
    ],
)
def test_a_name_is_found_by_its_folded_words(name: str, found_by: list[str]) -> None:
    assert text.terms(name) == sorted(found_by)


def test_the_words_of_all_texts_are_together_and_each_once() -> None:
    assert text.terms("ada.l", "Ada Lovelace") == ["ada", "l", "lovelace"]


@pytest.mark.parametrize("name", ["\u210dello", "\U0001d407ello", "\u1d34ello"])
def test_letters_that_only_look_special_fold_like_the_plain_ones(name: str) -> None:
    assert text.fold(name) == "hello"


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(name: str) -> None:
    assert text.fold(text.fold(name)) == text.fold(name)


@given(st.text(max_size=60))
def test_search_terms_fit_into_their_column(name: str) -> None:
    found = text.terms(name)
    assert found == sorted(set(found))
    assert all(1 <= len(term) <= 30 for term in found)


# --- what stands in a text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("@ada", ["ada"]),
        ("hi @Ada, (@jonas) and \u201e@zsofi\u201c!", ["ada", "jonas", "zsofi"]),
        ("@ada @ADA @ada.", ["ada"]),
        ("ends with @ada.lovelace. Then", ["ada.lovelace"]),
        (".@ada said", ["ada"]),
        ("line\n@ada\tx", ["ada"]),
        ("@gro\u00df", ["gross"]),  # as at sign-up
        ("@ab", []),
        ("@" + "x" * 30, ["x" * 30]),
        ("@" + "x" * 31, []),
        ("@ada\u00e9", []),
        ("@ada.\u00e9", []),
        ("me@ada.org", []),
        ("me+@ada.org", []),
        ("@ada@elsewhere.social", []),
        ("https://example.org/@ada and www.example.org/?by=@ada", []),
        ("@@ada", []),
        ("/@ada", []),
        ("@...", []),
        ("", []),
    ],
)
def test_a_username_is_named_by_its_sign(words: str, named: list[str]) -> None:
    assert text.mentions(words) == named


def test_a_text_names_so_many_people_and_no_more() -> None:
    names = [f"somebody{n}" for n in range(text.MOST_MENTIONS + 5)]
    assert text.mentions(" ".join(f"@{name}" for name in [*names, *names])) == names[: text.MOST_MENTIONS]


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.", min_size=3, max_size=30).filter(lambda n: n[-1] != ".")


@given(
    NAMES, st.sampled_from(["", " ", "(", "\n", "\u2014", "\u201c"]), st.sampled_from(["", " ", ")", ",", "!", "\n"])
)
def test_every_username_that_does_not_end_with_a_dot_can_be_named(name: str, before: str, after: str) -> None:
    assert text.mentions(f"{before}@{name}{after}") == [name]
    assert text.mentions(f"{before}@{name.upper()}{after}") == [name]


@given(NAMES, st.text("abcxyz0189._+-", min_size=1, max_size=20).map(lambda name: f"{name}x"))
def test_no_address_names_anybody(domain: str, local: str) -> None:
    assert text.mentions(f"to {local}@{domain}") == []


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        ("#Tea", ["tea"]),
        ("#tea, (#milk)\n#TEA!", ["tea", "milk"]),
        ("#\u00c9tude #e\u0301tude", ["etude"]),
        ("#2026 #2026er #_ #_a", ["2026er", "_a"]),
        ("#\u7d75\u6587\u5b57 \uff03\u304c\u3093\u3070\u308b", ["\u7d75\u6587\u5b57", "\u304c\u3093\u3070\u308b"]),
        ("#\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),  # Hindi, with its virama
        ("#\ud55c\uad6d\uc5b4", ["\ud55c\uad6d\uc5b4"]),
        ("#" + "x" * 50 + " #" + "y" * 51, ["x" * 50]),
        ("a#b ##c &#39; &#x41; C#", []),
        ("https://example.org/#top www.example.org#top", []),
        ("#\ufe0f\u20e31", []),  # a keycap
        ("#", []),
    ],
)
def test_a_tag_is_letters_of_any_script_behind_its_sign(words: str, tags: list[str]) -> None:
    assert text.tags(words) == tags


def test_a_text_has_so_many_tags_and_no_more() -> None:
    tags = [f"tag{n}" for n in range(text.MOST_TAGS + 5)]
    assert text.tags(" ".join(f"#{tag}" for tag in [*tags, *tags])) == tags[: text.MOST_TAGS]


@given(st.text(max_size=60))
def test_a_tag_is_its_own_folded_form(typed: str) -> None:
    tag = text.tag(typed)
    assert text.tag(tag) == tag
    assert len(tag) <= text.TAG_LENGTH
    if tag:
        assert text.tags(f"x #{tag} y") == [tag]


@given(st.text(max_size=80))
def test_tags_of_anything_are_tags(words: str) -> None:
    for tag in text.tags(words):
        assert text.tag(tag) == tag != ""
