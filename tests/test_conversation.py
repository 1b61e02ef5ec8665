"""A first look: two people talk."""


def test_two_people_talk(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("hello, bob")
    assert bob.expect("hello").endswith("ann: hello, bob")
    assert ann.expect("hello").endswith("ann: hello, bob")
