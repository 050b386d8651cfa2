"""The two clients as objects: the same surface, cancellation, threads, forks, event loops, lost connections."""

import asyncio
import inspect
import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from crossrec.serving.client import (
    AsyncRecommenderClient,
    CallError,
    ClientConfig,
    ClientStateError,
    HedgeConfig,
    KeepAliveConfig,
    RecommenderClient,
    RetryConfig,
)
from tests.unit.serving.faulty_server import CODE, ITEMS, TWINS, Connector, FaultyServer, fail, hang
from tests.unit.serving.serve_here import until

PATIENT = ClientConfig(deadline_seconds=30.0)


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


def test_the_twins_have_the_same_surface():
    def surface(kind):
        return {
            name: inspect.signature(value).replace(return_annotation=None)
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("__a") and name not in ("__enter__", "__exit__")
        }

    assert surface(RecommenderClient) == surface(AsyncRecommenderClient)
    awaited = {name for name, value in vars(AsyncRecommenderClient).items() if inspect.iscoroutinefunction(value)}
    assert awaited - {"__aenter__", "__aexit__"} == {"close", "recommend", "retrieve", "rank", "status", "metadata"}


def test_the_twins_send_the_same_bytes_and_read_the_same_results(server):
    requests = [{"user_id": "ü", "recent_items": ["a", "b"]}, {"exclude_items": ["c"]}]
    seen = []
    for kind in TWINS:
        with Connector(kind) as connect:
            client = connect(server.target)
            results = [*client.recommend(requests), client.retrieve({}), client.rank({"candidate_items": ["x", "y"]})]
            seen.append(([one.payload for one in server.predicts], [(type(r), r.items) for r in results]))
            server.predicts.clear()
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 3


def test_the_asyncio_client_in_a_program(server):
    async def main():
        async with AsyncRecommenderClient(server.target, "m", PATIENT) as client:
            answers = await asyncio.gather(*(client.recommend({"user_id": f"u{number}"}) for number in range(20)))
            return [answer.ids for answer in answers]

    assert asyncio.run(main()) == [ITEMS] * 20
    assert {one.inputs()["user_id"][0] for one in server.predicts} == {b"u%d" % number for number in range(20)}


@pytest.mark.parametrize("settings", [{}, {"hedge": HedgeConfig(0.02)}])
def test_cancelling_a_call_cancels_its_rpcs(server, settings):
    server.always = hang

    async def main():
        config = ClientConfig(deadline_seconds=60.0, **settings)
        async with AsyncRecommenderClient(server.target, "m", config) as client:
            await client.metadata()
            task = asyncio.ensure_future(client.recommend({}))
            wanted = 2 if settings else 1
            while len(server.predicts) < wanted:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [one.in_flight for one in client.target_status()] == [0]
            for one in server.predicts:
                assert await asyncio.get_running_loop().run_in_executor(None, one.ended.wait, 10)
                assert not one.done

    asyncio.run(main())


def test_cancelling_during_a_pause_sends_nothing_more(server):
    server.always = fail(CODE.UNAVAILABLE)
    # Drawn from the whole range: the chance of a pause that ends meanwhile is one in a hundred thousand.
    slow = RetryConfig(max_attempts=50, initial_backoff_seconds=50_000.0, max_backoff_seconds=50_000.0)

    async def main():
        async with AsyncRecommenderClient(
            server.target, "m", ClientConfig(deadline_seconds=100_000.0, retry=slow)
        ) as client:
            task = asyncio.ensure_future(client.recommend({}))
            while not server.predicts:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.2)

    asyncio.run(main())
    assert len(server.predicts) == 1


def test_a_client_of_another_loop_says_so(server):
    client = AsyncRecommenderClient(server.target, "m", PATIENT)

    async def use():
        await client.recommend({})

    asyncio.run(use())
    with pytest.raises(ClientStateError, match="one client per event loop"):
        asyncio.run(use())


def test_a_closed_client_says_so(server, connect):
    client = connect(server.target)
    client.recommend({})
    # The blocking twin's own `close` would stop the loop as well.
    client.wait(client.client.close()) if hasattr(client, "wait") else client.close()
    with pytest.raises(ClientStateError, match="closed"):
        client.recommend({})


def test_closing_ends_the_calls_under_way(server, connect):
    server.always = hang
    client = connect(server.target, deadline_seconds=60.0)
    client.metadata()
    problems = []

    def ask():
        try:
            client.recommend({})
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: server.predicts)
    client.wait(client.client.close()) if hasattr(client, "wait") else client.close()
    thread.join(20)
    (problem,) = problems
    assert isinstance(problem, CallError) and problem.code is CODE.CANCELLED
    assert server.predicts[0].ended.wait(10)
    assert [one.in_flight for one in client.target_status()] == [0]


def test_threads_share_a_client(server):
    problems = []
    with RecommenderClient(server.target, "m", PATIENT) as client:

        def ask(number):
            for turn in range(25):
                items = [f"{number}-{turn}-{place}" for place in range(number + 1)]
                if client.rank({"candidate_items": items}).ids != tuple(items):
                    problems.append(items)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.in_flight for one in client.target_status()] == [0]
    assert problems == []
    assert len(server.predicts) == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_is_told_to_make_its_own_client():
    program = textwrap.dedent(
        """
        import os, sys
        from crossrec.serving.client import ClientStateError, RecommenderClient

        client = RecommenderClient("127.0.0.1:1")
        child = os.fork()
        if not child:
            try:
                client.recommend({})
            except ClientStateError as error:
                os._exit(42 if "after the fork" in str(error) else 1)
            os._exit(2)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 42


class Tunnel:
    """Forwards bytes to a server until it is blocked: then it stays silent, as a host that lost its power."""

    def __init__(self, port):
        self.port = port
        self.blocked = threading.Event()
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self.port))
            # A new connection finds the host that has taken over.
            old = self.connections == 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink, old), daemon=True).start()

    def _forward(self, source, sink, old):
        try:
            while data := source.recv(65536):
                if not (old and self.blocked.is_set()):
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other end has closed it

    def close(self):
        self.listener.close()


def test_a_dead_connection_is_found_and_replaced(server, connect):
    tunnel = Tunnel(server.port)
    keep_alive = KeepAliveConfig(interval_seconds=1.0, timeout_seconds=1.0, idle=True)
    client = connect(tunnel.target, keep_alive=keep_alive, deadline_seconds=0.7)
    client.metadata(deadline_seconds=30)
    tunnel.blocked.set()
    # Too late, or the ping was quicker.
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED|UNAVAILABLE"):
        client.recommend({})

    def answers():
        try:
            return client.recommend({}).ids == ITEMS
        except Exception:
            return False

    until(answers)
    assert tunnel.connections >= 2
    tunnel.close()


@pytest.mark.parametrize("settings", [{"interval_seconds": 0.0}, {"timeout_seconds": -1.0}])
def test_pings_need_times(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        KeepAliveConfig(**settings)
