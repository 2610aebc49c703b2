"""The order in which an account is read: its regions, then all of them at once, then the list of regions again.

The live half of platform `aliyun`. A reading that `proof` does not hold for whole ends in an error: its raw is kept,
and nothing is derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.client import ECS_VERSION, AliyunClient
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.instances import VM
from asset_ledger.sources.aliyun.pages import DISKS
from asset_ledger.sources.aliyun.proof import LookUp
from asset_ledger.sources.aliyun.regions import Read, RegionReader
from asset_ledger.sources.aliyun.signer import ALGORITHM
from asset_ledger.sources.aliyun.survey import Survey
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets

MOST_LOOKED_UP = 1000
"""Of instances that the ledger knows and no list has, how many are asked for by their ids."""
# what every other region would end with as well
_OF_ALL = (
    errors.AUTH_FAILED,
    errors.CLOCK_SKEW,
    errors.CONFIG_INVALID,
    errors.PERMISSION_DENIED,
    errors.TLS_ERROR,
)


class AliyunCollector:
    """Reads one account. Nothing is opened before a method is called."""

    def __init__(self, config: AliyunConfig, credentials: Secrets) -> None:
        self._config = config
        self._credentials = credentials

    def healthcheck(self, order: ReadOrder) -> Health:  # noqa: ARG002 - the contract's
        """Ask for the regions, and in each whether its instances and disks may be listed. Lists nothing."""
        client = self._client()
        survey = Survey(self._config, client)
        try:
            survey.begin()
            survey.identify()
            reader = RegionReader(self._config, client)
            with ThreadPoolExecutor(self._config.parallel) as pool:
                try:
                    found = list(pool.map(reader.check, survey.hosts, survey.hosts.values()))
                    open_to = [one for one, wrong in zip(survey.hosts, found, strict=True) if wrong is None]
                    disks = list(pool.map(lambda one: reader.check(one, survey.hosts[one], DISKS), open_to))
                except BaseException:
                    client.stop()
                    raise
        finally:
            client.stop()
        problems = [f"{wrong.code.code}: {wrong.message}" for wrong in found if wrong is not None]
        if not survey.hosts:
            problems.append(f"{errors.CONFIG_INVALID.code}: exclude_regions leaves no region to read")
        closed = sum(wrong is not None for wrong in disks)
        checks = {
            "endpoint": f"{client.target} answers",
            "account": client.account.kind,
            "identity": str(survey.identity or f"not known, which no reading needs: {survey.unidentified}"),
            "tls": self._config.trust,
            "regions": f"{len(survey.hosts)} of {len(survey.listed)}",
            "instances": f"may be listed in {len(open_to)} of {len(survey.hosts)} regions",
            "disks": f"may be listed in {len(open_to) - closed} of {len(survey.hosts)} regions",
        }
        if survey.unknown_exclusions:
            checks["exclude_regions"] = f"Aliyun lists no {', '.join(survey.unknown_exclusions)}"
        return Health(ok=not problems, checks=checks, problems=tuple(problems))

    def detect(self, order: ReadOrder) -> Detection:  # noqa: ARG002 - the contract's
        """Say which regions there are, which of them are read, through which servers, and by whom."""
        client = self._client()
        survey = Survey(self._config, client)
        try:
            survey.begin()
            survey.identify()
        finally:
            client.stop()
        advice = [] if self._config.tls_verify else [errors.TLS_UNVERIFIED.advice]
        if survey.unknown_exclusions:
            advice.append(f"exclude_regions names what Aliyun does not list: {', '.join(survey.unknown_exclusions)}")
        return Detection(
            target_version=ECS_VERSION,
            driver=f"ecs {ECS_VERSION} {ALGORITHM}",
            capabilities={
                "account": client.account.kind,
                "account_id": survey.identity.account_id if survey.identity else None,
                "identity": str(survey.identity or f"not known, which no reading needs: {survey.unidentified}"),
                "regions": list(survey.hosts),
                "regions_left_out": sorted(set(survey.listed) - set(survey.hosts)),
                "servers": sorted(set(survey.hosts.values())),
                "address_zone": self._config.address_zone,
            },
            advice="; ".join(advice),
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield one record a region as each is done, and last the account's, with the proof.

        A record exists only for a region that is being read: `parallel` and a quarter more at a time. Closing the
        iterator ends the running requests. Raises IncompleteError with ALIYUN_PERMISSION_DENIED where instances may be
        hidden, with the code of the one cause or INVENTORY_INCOMPLETE where regions could not be read, and whatever
        else ended the reading; the account's record comes before it.
        """
        client = self._client()
        survey = Survey(self._config, client)
        try:
            yield from self._read(client, survey, order)
        except LedgerError as error:
            if survey.asked:
                yield survey.record(error)
            raise
        else:
            yield survey.record(None)
        finally:
            client.stop()

    def _read(self, client: AliyunClient, survey: Survey, order: ReadOrder) -> Iterator[RawRecord]:
        survey.begin()
        if self._config.asks_account:
            survey.identify()
        reader = RegionReader(self._config, client)
        for read in self._regions(client, survey, reader):
            survey.seen.append(read.seen)
            survey.restarts += read.restarts
            yield read.take()
            if read.error is not None and read.error.code in _OF_ALL:
                # a reading that cannot be whole need not be long
                raise survey.refusal() if read.error.code is errors.PERMISSION_DENIED else read.error
        if not any(seen.error for seen in survey.seen):
            self._look_up(survey, reader, order)
        survey.again()
        if not survey.verdict().proof.complete:
            raise survey.refusal()

    def _regions(self, client: AliyunClient, survey: Survey, reader: RegionReader) -> Iterator[Read]:
        parallel = self._config.parallel
        # one more for every four, so that calls go on while a page is worked on
        open_at_once = parallel + -(-parallel // 4)
        tasks = iter(survey.hosts.items())
        done: SimpleQueue[Future[Read]] = SimpleQueue()
        pool = ThreadPoolExecutor(open_at_once, thread_name_prefix=f"aliyun-{self._config.name}")
        running = 0
        try:
            while True:
                for region, host in islice(tasks, open_at_once - running):
                    future = pool.submit(reader.read, region, host)
                    future.add_done_callback(done.put)
                    running += 1
                if not running:
                    return
                finished = done.get()
                running -= 1
                yield finished.result()
        except BaseException:
            client.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _look_up(self, survey: Survey, reader: RegionReader, order: ReadOrder) -> None:
        """Ask for each instance that the ledger knows and no list has, before it may count as missing."""
        received = {one for seen in survey.seen for one in seen.ids}
        lacking = sorted({name for kind, name in order.known - order.gone if kind == VM} - received)
        if not lacking:
            return
        some = lacking[:MOST_LOOKED_UP]
        with ThreadPoolExecutor(self._config.parallel) as pool:
            try:
                found = list(pool.map(lambda one: reader.look_up(one[0], one[1], some), survey.hosts.items()))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        silent = [region for region, answered in zip(survey.hosts, found, strict=True) if answered is None]
        exist = sorted(set().union(*(answered for answered in found if answered is not None)))
        survey.look_up = LookUp(len(lacking), len(some), tuple(exist), tuple(silent))

    def _client(self) -> AliyunClient:
        reference = self._config.credential_ref
        return AliyunClient(self._config, self._credentials.resolve(reference) if reference else {})
