"""The peers there are."""

from importlib.util import find_spec

from training.evaluate.peers.interface import Entry
from training.evaluate.peers.learned import IsolatedForest, OneClassSvm, PrincipalComponents
from training.evaluate.peers.sarima import Sarima
from training.evaluate.peers.statistical import Ewma, SeasonalBand, ThreeSigma
from training.evaluate.peers.streaming import StreamingForest
from treeline.core.errors import UsageError

PEERS: tuple[Entry, ...] = (
    Entry("three-sigma", lambda step_s, seed: ThreeSigma(), "", "static per-metric z-score"),
    Entry("EWMA", lambda step_s, seed: Ewma(step_s), "", "per metric, against its exponentially weighted past"),
    Entry("seasonal band", lambda step_s, seed: SeasonalBand(), "", "hour-of-week median and MAD per metric"),
    Entry("SARIMA", lambda step_s, seed: Sarima(step_s), "statsmodels", "one-step forecast errors per metric"),
    Entry("one-class SVM", lambda step_s, seed: OneClassSvm(seed), "sklearn", "all metrics together, per server"),
    Entry("IsolationForest", lambda step_s, seed: IsolatedForest(seed), "sklearn", "all metrics together, per server"),
    Entry("PCA", lambda step_s, seed: PrincipalComponents(), "sklearn", "reconstruction error, per server"),
    Entry("streaming RCF", lambda step_s, seed: StreamingForest(seed), "krcf", "AWS's library, learning as it goes"),
)


def entry(name: str) -> Entry:
    """The peer of that name; raises UsageError with the names there are."""
    for peer in PEERS:
        if peer.name.lower() == name.lower():
            return peer
    raise UsageError(f"there is no peer {name!r}; there are {', '.join(p.name for p in PEERS)}")


def installed() -> tuple[list[Entry], list[Entry]]:
    """The peers whose packages are here, and those whose are not."""
    here = [peer for peer in PEERS if not peer.needs or find_spec(peer.needs)]
    return here, [peer for peer in PEERS if peer not in here]
