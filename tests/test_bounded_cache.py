"""What a cache of values of different sizes keeps."""

from tasker.bounded_cache import BoundedCache


class Value:
    """Something that can be referred to weakly."""


def test_the_least_recently_used_values_are_removed_first() -> None:
    cache: BoundedCache[str, Value] = BoundedCache(10)
    for name in "abc":
        cache.put(name, Value(), 3)
    cache.get("a")
    cache.put("d", Value(), 3)

    assert (9, 3) == (cache.size, len(cache))
    assert ["a", "c", "d"] == [name for name in "abcd" if cache.get(name) is not None]


def test_a_removed_value_is_found_while_it_is_in_use() -> None:
    cache: BoundedCache[str, Value] = BoundedCache(10)
    used, large = Value(), Value()
    cache.put("used", used, 6)
    cache.put("large", large, 11)
    cache.put("next", Value(), 6)

    assert (6, 1) == (cache.size, len(cache))
    assert (used, large) == (cache.get("used"), cache.get("large"))
    del used, large
    assert (None, None) == (cache.get("used"), cache.get("large"))


def test_a_large_value_does_not_remove_others() -> None:
    cache: BoundedCache[str, Value] = BoundedCache(10)
    cache.put("small", Value(), 5)
    cache.put("large", Value(), 11)

    assert cache.get("small") is not None


def test_a_replaced_or_removed_value_frees_its_size() -> None:
    cache: BoundedCache[str, Value] = BoundedCache(10)
    cache.put("a", Value(), 4)
    cache.put("a", Value(), 7)
    replaced = cache.size
    cache.remove("a")

    assert (7, 0) == (replaced, cache.size)
    assert cache.get("a") is None
