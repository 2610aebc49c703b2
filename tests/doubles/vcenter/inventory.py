"""The tree of objects that a test described: where each stands, what a view shows, what a path of it says.

Everything that specs do not say (root folder, folders of a datacenter, root pools) is put there as vCenter does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.doubles.vcenter import host_properties, vm_properties
from tests.doubles.vcenter.releases import Release
from tests.doubles.vcenter.soap import Spelling
from tests.doubles.vcenter.specs import (
    ClusterSpec,
    DatacenterSpec,
    DatastoreSpec,
    FolderSpec,
    HostSpec,
    PoolSpec,
    VmSpec,
)
from tests.doubles.vcenter.values import Array, Data, Ref, Value, at, typed

BASES = {
    "ClusterComputeResource": ("ComputeResource",),
    "VirtualApp": ("ResourcePool",),
    "StoragePod": ("Folder",),
}
Spec = VmSpec | HostSpec | DatastoreSpec


def is_a(kind: str, wanted: str) -> bool:
    """Say whether a type is another one or made from it."""
    return kind == wanted or wanted == "ManagedEntity" or wanted in BASES.get(kind, ())


@dataclass
class Node:
    """One object: its place, and either its own fields or the spec that they are made of."""

    ref: Ref
    name: str
    parent: Ref | None = None
    own: dict[str, Value | None] = field(default_factory=dict)
    spec: Spec | None = None


class Inventory:
    """All objects, by moid. `esxi` gives what is there anyway the ids that a lone host gives it."""

    def __init__(self, release: Release, *, esxi: bool = False) -> None:
        self._release = release
        self._esxi = esxi
        self.root = Ref("Folder", "ha-folder-root" if esxi else "group-d1")
        self.nodes: dict[str, Node] = {}
        self._trees: dict[Spec, Data] = {}
        self._texts: dict[tuple[Spec, str, Spelling], str | None] = {}
        self.show()

    def show(
        self,
        *,
        datacenters: Iterable[DatacenterSpec] | None = None,
        folders: Iterable[FolderSpec] = (),
        clusters: Iterable[ClusterSpec] = (),
        hosts: Iterable[HostSpec] = (),
        pools: Iterable[PoolSpec] = (),
        datastores: Iterable[DatastoreSpec] = (),
        vms: Iterable[VmSpec] = (),
    ) -> None:
        """Let there be these objects and no others."""
        self.nodes = {self.root.moid: Node(self.root, "ha-folder-root" if self._esxi else "Datacenters")}
        usual = DatacenterSpec("ha-datacenter", "ha-datacenter") if self._esxi else DatacenterSpec()
        self._centers = list(datacenters) if datacenters is not None else [usual]
        # folders of datacenters first: they stand in them
        self._waiting = list(folders)
        self._place_folders()
        for center in self._centers:
            self._datacenter(center)
            self._place_folders()
        if self._waiting:
            raise ValueError(f"folders without a parent: {[folder.moid for folder in self._waiting]}")
        for cluster in clusters:
            kind = Ref("ClusterComputeResource", cluster.moid)
            above = self._ref(cluster.folder) if cluster.folder else self._folder("h", cluster.datacenter)
            self._compute(kind, cluster.name, above)
        for host in hosts:
            self._host(host)
        for pool in pools:
            self._pool(pool)
        for store in datastores:
            node = Node(Ref("Datastore", store.moid), store.name, self._folder("s", store.datacenter), spec=store)
            self._add(node)
        for vm in vms:
            self._vm(vm)
        self._link()
        kept = {node.spec for node in self.nodes.values() if node.spec is not None}
        self._trees = {spec: tree for spec, tree in self._trees.items() if spec in kept}
        self._texts = {key: text for key, text in self._texts.items() if key[0] in kept}

    # -- building ---------------------------------------------------------------------------------------------------

    def _add(self, node: Node) -> Node:
        if node.ref.moid in self.nodes:
            raise ValueError(f"{node.ref.moid} is there twice")
        self.nodes[node.ref.moid] = node
        return node

    def _ref(self, moid: str) -> Ref:
        return self.nodes[moid].ref

    def _place_folders(self) -> None:
        """Put every folder whose parent is there."""
        progress = True
        while progress:
            progress = False
            for folder in list(self._waiting):
                parent = self.root.moid if folder.parent == "" else folder.parent
                if parent is None:
                    parent = self._folder_id("v", self._centers[0].moid)
                if parent in self.nodes:
                    self._add(Node(Ref("Folder", folder.moid), folder.name, self._ref(parent)))
                    self._waiting.remove(folder)
                    progress = True

    def _datacenter(self, center: DatacenterSpec) -> None:
        above = self._ref(center.parent) if center.parent else self.root
        node = self._add(Node(Ref("Datacenter", center.moid), center.name, above))
        for letter, name, of in (
            ("v", "vm", "vm"),
            ("h", "host", "host"),
            ("s", "datastore", "datastore"),
            ("n", "network", "network"),
        ):
            folder = self._add(Node(Ref("Folder", self._folder_id(letter, center.moid)), name, node.ref))
            node.own[f"{of}Folder"] = folder.ref

    def _folder_id(self, letter: str, center: str) -> str:
        if self._esxi:
            return {"v": "ha-folder-vm", "h": "ha-folder-host", "s": "ha-folder-datastore", "n": "ha-folder-network"}[
                letter
            ]
        return f"group-{letter}{center.rpartition('-')[2]}"

    def _folder(self, letter: str, center: str | None) -> Ref:
        return self._ref(self._folder_id(letter, center or self._centers[0].moid))

    def _compute(self, ref: Ref, name: str, parent: Ref) -> None:
        pool = Ref("ResourcePool", "ha-root-pool" if self._esxi else f"resgroup-{ref.moid.rpartition('-')[2]}")
        self._add(Node(ref, name, parent, {"resourcePool": pool}))
        self._add(Node(pool, "Resources", ref, {"owner": ref}))

    def _host(self, host: HostSpec) -> None:
        if host.cluster:
            above = self._ref(host.cluster)
        else:
            number = host.moid.rpartition("-")[2]
            above = Ref("ComputeResource", "ha-compute-res" if self._esxi else f"domain-s{number}")
            self._compute(above, host.name, self._folder("h", host.datacenter))
        stores = Array("ManagedObjectReference", [Ref("Datastore", moid) for moid in host.datastores])
        self._add(Node(Ref("HostSystem", host.moid), host.name, above, {"datastore": stores}, host))

    def _pool(self, pool: PoolSpec) -> None:
        above = self.nodes[pool.parent]
        if isinstance(root := above.own.get("resourcePool"), Ref):
            above = self.nodes[root.moid]
        own: dict[str, Value | None] = {"owner": above.own.get("owner")}
        if pool.vapp:
            own["parentFolder"] = self._ref(pool.folder) if pool.folder else self._folder("v", None)
        self._add(Node(Ref("VirtualApp" if pool.vapp else "ResourcePool", pool.moid), pool.name, above.ref, own))

    def _vm(self, vm: VmSpec) -> None:
        own: dict[str, Value | None] = {}
        parent: Ref | None = None
        if vm.vapp:
            own["parentVApp"] = self._ref(vm.vapp)
        else:
            parent = self._ref(vm.folder) if vm.folder else self._folder("v", None)
        pool = vm.pool or vm.vapp
        if pool is None and vm.host in self.nodes:
            compute = self.nodes[vm.host].parent
            root = self.nodes[compute.moid].own.get("resourcePool") if compute else None
            pool = root.moid if isinstance(root, Ref) else None
        if pool and not vm.template:
            own["resourcePool"] = self._ref(pool)
        self._add(Node(Ref("VirtualMachine", vm.moid), vm.name, parent, own, vm))

    def _link(self) -> None:
        """Give every object the lists of those that are in it."""
        lists: dict[str, dict[str, list[Value]]] = {}

        def put(moid: str, path: str, ref: Ref) -> None:
            lists.setdefault(moid, {}).setdefault(path, []).append(ref)

        for node in self.nodes.values():
            match node:
                case Node(spec=VmSpec() as vm):
                    if vm.host in self.nodes:
                        put(vm.host, "vm", node.ref)
                    for pool in (node.own.get("resourcePool"),):
                        if isinstance(pool, Ref):
                            put(pool.moid, "vm", node.ref)
                case Node(ref=Ref("HostSystem"), parent=Ref() as above):
                    put(above.moid, "host", node.ref)
            if node.parent is not None and self.nodes[node.parent.moid].ref.type == "Folder":
                put(node.parent.moid, "childEntity", node.ref)
            if (
                node.ref.type in {"ResourcePool", "VirtualApp"}
                and node.parent
                and "owner" in self.nodes[node.parent.moid].own
            ):
                put(node.parent.moid, "resourcePool", node.ref)
        for moid, paths in lists.items():
            for path, refs in paths.items():
                self.nodes[moid].own[path] = Array("ManagedObjectReference", refs)

    # -- looking ----------------------------------------------------------------------------------------------------

    def view(self, container: str, kinds: Iterable[str], *, recursive: bool) -> list[Ref]:
        """Return what a container view shows now; the container itself is not in it."""
        wanted = tuple(kinds)
        found = []
        for node in self.nodes.values():
            if wanted and not any(is_a(node.ref.type, kind) for kind in wanted):
                continue
            above = self._above(node)
            if container in above if recursive else above[:1] == [container]:
                found.append(node.ref)
        return found

    def _above(self, node: Node) -> list[str]:
        """Return the ids of what an object stands in, the nearest first."""
        ids = []
        at_: Node | None = node
        while at_ is not None:
            up = at_.parent or at_.own.get("parentVApp")
            if not isinstance(up, Ref):
                break
            ids.append(up.moid)
            at_ = self.nodes.get(up.moid)
        return ids

    def tree(self, node: Node) -> Data:
        """Return an object's properties: what its spec says, and where it stands."""
        spec = node.spec
        made: Data | None = None
        if spec is not None:
            made = self._trees.get(spec)
            if made is None:
                made = self._trees[spec] = self._made(spec)
        said = dict(made.fields) if made else {}
        return Data(node.ref.type, said | {"name": node.name, "parent": node.parent} | node.own)

    def _made(self, spec: Spec) -> Data:
        match spec:
            case VmSpec():
                return vm_properties.vm_tree(spec)
            case HostSpec():
                return host_properties.host_tree(spec, self._release)
            case DatastoreSpec():
                return host_properties.datastore_tree(spec)

    def value(self, node: Node, path: str) -> Value | None:
        """Return the value of a path, None where it is unset."""
        return at(self.tree(node), path)

    def told(self, node: Node, paths: Iterable[str], spelling: Spelling) -> Iterator[tuple[str, str]]:
        """Return the paths that are set, each with its `<val>`. What a spec alone decides is made once."""
        for path in paths:
            spec = node.spec
            if spec is not None and path.partition(".")[0] in {"config", "guest", "summary", "hardware"}:
                key = (spec, path, spelling)
                if key not in self._texts:
                    self._texts[key] = self._text(node, path, spelling)
                text = self._texts[key]
            else:
                text = self._text(node, path, spelling)
            if text is not None:
                yield path, text

    def _text(self, node: Node, path: str, spelling: Spelling) -> str | None:
        value = self.value(node, path)
        return None if value is None else typed("val", value, spelling)
