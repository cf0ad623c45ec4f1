"""The peers there are: other people's detectors, whose score we calibrate, and rules, which page by themselves."""

from importlib.util import find_spec

from training.evaluate.peers.interface import NamedPeer
from training.evaluate.peers.learned import IsolatedForest, OneClassSvm, PrincipalComponents
from training.evaluate.peers.rules import RULES, Rule
from training.evaluate.peers.sarima import Sarima
from training.evaluate.peers.statistical import Ewma, SeasonalBand, ThreeSigma
from training.evaluate.peers.streaming import StreamingForest
from treeline.core.errors import UsageError

DETECTORS: tuple[NamedPeer, ...] = (
    NamedPeer("three-sigma", lambda step_s, seed: ThreeSigma()),
    NamedPeer("EWMA", lambda step_s, seed: Ewma(step_s)),
    NamedPeer("seasonal band", lambda step_s, seed: SeasonalBand()),
    NamedPeer("SARIMA", lambda step_s, seed: Sarima(step_s), "statsmodels"),
    NamedPeer("one-class SVM", lambda step_s, seed: OneClassSvm(seed), "sklearn"),
    NamedPeer("IsolationForest", lambda step_s, seed: IsolatedForest(seed), "sklearn"),
    NamedPeer("PCA", lambda step_s, seed: PrincipalComponents(), "sklearn"),
    NamedPeer("streaming RCF", lambda step_s, seed: StreamingForest(seed), "krcf"),
)
PEERS: tuple[NamedPeer | Rule, ...] = (*DETECTORS, *RULES)


def entry(name: str) -> NamedPeer | Rule:
    """The peer of that name; raises UsageError with the names there are."""
    for peer in PEERS:
        if peer.name.lower() == name.lower():
            return peer
    raise UsageError(f"there is no peer {name!r}; there are {', '.join(p.name for p in PEERS)}")


def absent() -> list[NamedPeer]:
    """The peers whose packages are not here."""
    return [peer for peer in DETECTORS if peer.needs and not find_spec(peer.needs)]
