from samplers.conformance.verify import verify


def test_it_keeps_the_protocol():
    assert not [finding for finding in verify("ab2") if finding.passed is False]
