def test_x(results):
    pass
