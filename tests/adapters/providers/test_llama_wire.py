"""What the embedded model is asked, and what it says of what it cannot do."""

from __future__ import annotations

import pytest

from splice.adapters.providers.llama_wire import child_body
from splice.core.errors import ProviderRejected

ASK = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("more", [{"tools": [{"type": "function"}]}, {"n": 2}])
def test_what_it_cannot_do_is_refused_with_the_way_to_have_it(more: dict[str, object]) -> None:
    with pytest.raises(ProviderRejected, match="Put a vendor's model first") as caught:
        child_body({"messages": ASK, **more}, "local")

    assert caught.value.elsewhere
    assert caught.value.param in more
