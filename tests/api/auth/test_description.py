"""The API's description tells who must say who they are."""

from tests.api.auth.test_matrix import OPEN, ROUTES

from tasker.api import create_app
from tasker.settings import AuthSettings


def test_the_description_states_where_authentication_is_required() -> None:
    """Every route with a permission lists both schemes; without authentication no route does."""
    secured = create_app("sqlite::memory:", auth=AuthSettings(enabled=True)).openapi()
    public = AuthSettings(enabled=True, metrics_public=True)
    open_ = create_app("sqlite::memory:").openapi()
    ways: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]

    for route in ROUTES:
        assert ways == secured["paths"][route.path][route.method.lower()]["security"]
        assert "security" not in open_["paths"][route.path][route.method.lower()]
    assert {"bearer", "apiKey"} == set(secured["components"]["securitySchemes"])
    for method, path in OPEN:
        assert "security" not in secured["paths"][path][method.lower()]
    metrics = create_app("sqlite::memory:", auth=public).openapi()["paths"]["/metrics"]["get"]
    assert "security" not in metrics
