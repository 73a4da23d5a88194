"""`python -m benchmarks.peers [--only NAME] [--count 50000]`: a line for each peer."""

import argparse

from benchmarks.peers import PEERS
from benchmarks.peers.stage import stage


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", choices=PEERS, action="append", help="this peer; repeatable")
    options.add_argument("--count", type=int, default=50_000, help="tasks in the backlog")
    given = options.parse_args()
    with stage() as played_on:
        for name in given.only or PEERS:
            peer = PEERS[name]
            rate = peer.drain(played_on, given.count)
            kept = "results kept" if peer.keeps_result else "no results kept"
            print(
                f"{peer.name:16} {rate:>9,.0f}/s  {peer.version}; {peer.setting}; {kept}",
                flush=True,
            )


if __name__ == "__main__":
    main()
