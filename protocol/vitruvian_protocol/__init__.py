"""The wire contract between add-on, command line and backend. numpy and msgpack; pyzmq for `client`."""
