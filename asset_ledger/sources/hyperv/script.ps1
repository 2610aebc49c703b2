# Reads one Hyper-V host: itself, its virtual machines, its cluster. It changes nothing and asks no other computer.
# script.py puts two assignments before it, $nonce and $ask, takes lines like this one out, and says what it prints.
# Windows PowerShell 3.0 to 5.1; the Hyper-V module of Windows Server 2012 to 2025.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
# before 3.0 there is neither ConvertTo-Json nor a Hyper-V module
if ($PSVersionTable.PSVersion.Major -lt 3) {
    $json = '{"v":1,"ask":"' + $ask + '","ok":false,"host":{"name":"' + [Environment]::MachineName + '"},"errors":' +
        '[{"where":"module","message":"Windows PowerShell is older than 3.0","category":"NotInstalled"}]}'
    [Console]::Out.WriteLine($nonce + ':' + [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($json)) + ':' + $nonce)
    return
}
$utc = [Globalization.CultureInfo]::InvariantCulture
$full = 'whole', 'own' -contains $ask
$services = 'HKLM:\SYSTEM\CurrentControlSet\Services'
$v2 = 'root\virtualization\v2'

function Text($value) { if ($null -eq $value) { $null } else { [string]$value } }
function Whole($value) { if ($null -eq $value) { $null } else { [long]$value } }
function Flag($value) { if ($null -eq $value) { $null } else { [bool]$value } }
function Id($value) { ([string]$value).Trim('{}').ToLowerInvariant() }
# a culture's own calendar and separators have no place in a date
function Moment($value) {
    if ($null -eq $value) { $null } else { ([datetime]$value).ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ', $utc) }
}
function Trouble($where, $record) {
    $told = [string]$record.Exception.Message
    if ($told.Length -gt 200) { $told = $told.Substring(0, 200) }
    # what was refused is often said by an inner one, and by WMI's only in a number of its own
    $numbers = @()
    for ($inner = $record.Exception; $inner; $inner = $inner.InnerException) {
        $numbers += @($inner.HResult, $inner.ErrorCode, $inner.NativeErrorCode | ForEach-Object { $_ -as [long] } | Where-Object { $_ })
    }
    @{
        where = $where; message = $told; numbers = @($numbers)
        id = [string]$record.FullyQualifiedErrorId; category = [string]$record.CategoryInfo.Category
        type = $record.Exception.GetType().FullName
    }
}
function Missing($where, $told) {
    @{ where = $where; message = $told; numbers = @(); id = ''; category = 'NotInstalled'; type = '' }
}

$errors = New-Object System.Collections.ArrayList
$about = @{}
$out = @{
    v = 1; ask = $ask; ok = $false; at = Moment (Get-Date); count = $null; items = @(); host = $about
    second = $null; cluster = $null; errors = @()
}

# who asks, and on which machine
try {
    $user = [Security.Principal.WindowsIdentity]::GetCurrent()
    $about.groups = @($user.Groups | ForEach-Object { $_.Value } | Where-Object { $_ -like 'S-1-5-32-*' })
    $principal = New-Object Security.Principal.WindowsPrincipal $user
    $about.is_admin = $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
    $about.ps_version = [string]$PSVersionTable.PSVersion
    $about.name = [Environment]::MachineName
} catch { $null = $errors.Add((Trouble 'host' $_)) }
try {
    $system = Get-WmiObject -Class Win32_ComputerSystem
    $about.fqdn = Text $system.DNSHostName
    if ($system.PartOfDomain) { $about.fqdn = [string]$system.DNSHostName + '.' + [string]$system.Domain }
} catch { $null = $errors.Add((Trouble 'host' $_)) }
if ($full) {
    try {
        $about.manufacturer = Text $system.Manufacturer
        $about.model = Text $system.Model
        $about.memory_bytes = Whole $system.TotalPhysicalMemory
        $about.logical_processors = Whole $system.NumberOfLogicalProcessors
        $about.sockets = Whole $system.NumberOfProcessors
    } catch { $null = $errors.Add((Trouble 'host' $_)) }
    try {
        $product = Get-WmiObject -Class Win32_ComputerSystemProduct
        $about.uuid = Text $product.UUID
        $about.serial = Text $product.IdentifyingNumber
        $system = Get-WmiObject -Class Win32_OperatingSystem
        $about.os_version = Text $system.Version
        $about.os_build = Text $system.BuildNumber
        $about.os_caption = Text $system.Caption
        $chips = @(Get-WmiObject -Class Win32_Processor)
        $about.cpu_model = Text $chips[0].Name
        $cores = 0
        foreach ($chip in $chips) { $cores += $chip.NumberOfCores }
        $about.cores = Whole $cores
    } catch { $null = $errors.Add((Trouble 'host' $_)) }
    try {
        $cards = @(Get-WmiObject -Class Win32_NetworkAdapterConfiguration -Filter 'IPEnabled=TRUE')
        $about.ips = @($cards | ForEach-Object { $_.IPAddress } | Where-Object { $_ } | ForEach-Object { [string]$_ })
        $about.macs = @($cards | ForEach-Object { $_.MACAddress } | Where-Object { $_ } | ForEach-Object { [string]$_ })
    } catch { $null = $errors.Add((Trouble 'host' $_)) }
}

# what WMI knows of all machines at once: one query each, never one a machine
$bios = @{}
$told = @{}
$kvp = @{}
$wmi = @{}
$wanted = 'FullyQualifiedDomainName', 'OSName', 'OSVersion', 'OSMajorVersion', 'OSBuildNumber', 'OSPlatformId'
$second = @{ ids = $null; error = $null }
$out.second = $second
if (-not (Test-Path -Path "$services\vmms")) {
    $null = $errors.Add((Missing 'module' 'this host has no Hyper-V role'))
} elseif (-not (Get-Module -ListAvailable -Name Hyper-V -ErrorAction SilentlyContinue)) {
    $null = $errors.Add((Missing 'module' 'this host has no Hyper-V module for PowerShell'))
} else {
    if ($full) {
        try {
            # checkpoints have settings of their own, with the machine's BIOSGUID or an older one
            $query = "SELECT VirtualSystemIdentifier, BIOSGUID, BIOSSerialNumber FROM Msvm_VirtualSystemSettingData " +
                "WHERE VirtualSystemType = 'Microsoft:Hyper-V:System:Realized'"
            foreach ($row in @(Get-WmiObject -Namespace $v2 -Query $query)) {
                $bios[(Id $row.VirtualSystemIdentifier)] = $row
            }
        } catch { $wmi.bios = Trouble 'bios' $_ }
        try {
            $query = 'SELECT SystemName, GuestIntrinsicExchangeItems FROM Msvm_KvpExchangeComponent'
            foreach ($row in @(Get-WmiObject -Namespace $v2 -Query $query)) { $kvp[(Id $row.SystemName)] = $row }
        } catch { $wmi.guest = Trouble 'guest' $_ }
        try {
            $box = Hyper-V\Get-VMHost
            $about.logical_processors = Whole $box.LogicalProcessorCount
            $about.memory_bytes = Whole $box.MemoryCapacity
        } catch { $null = $errors.Add((Trouble 'host' $_)) }
    }
    $vms = $null
    try {
        $vms = @(Hyper-V\Get-VM)
        $about.module_version = [string](Get-Module -Name Hyper-V | Select-Object -First 1).Version
    } catch { $null = $errors.Add((Trouble 'vms' $_)) }
    $items = New-Object System.Collections.ArrayList
    # one that cannot even tell its id would be left out: then the list is none
    try {
        foreach ($vm in @($vms | Where-Object { $_ })) {
            $wrong = New-Object System.Collections.ArrayList
            $key = Id $vm.Id
            $item = @{ id = $key; name = $null; nics = $null; disks = $null; guest = $null; errors = @() }
            $null = $items.Add($item)
            try {
                $item.name = Text $vm.Name
                # from 32783 on a number means another state in each release; a name never does, nor is it translated
                $item.state = [int]$vm.State
                $item.state_name = [string]$vm.State
                $item.replication_mode = if ($null -eq $vm.ReplicationMode) { $null } else { [int]$vm.ReplicationMode }
                $item.replication_state = if ($null -eq $vm.ReplicationState) { $null } else { [int]$vm.ReplicationState }
                if ($full) {
                    $item.created = Moment $vm.CreationTime
                    $item.vcpu = Whole $vm.ProcessorCount
                    $item.mem_startup = Whole $vm.MemoryStartup
                    $item.mem_assigned = Whole $vm.MemoryAssigned
                    $item.mem_max = Whole $vm.MemoryMaximum
                    $item.dynamic = Flag $vm.DynamicMemoryEnabled
                    $item.generation = Whole $vm.Generation
                    $item.version = Text $vm.Version
                    $item.clustered = Flag $vm.IsClustered
                }
            } catch { $null = $wrong.Add((Trouble 'vm' $_)) }
            $item.errors = @($wrong)
            if (-not $full) { continue }
            if ($wmi.bios) { $null = $wrong.Add($wmi.bios) } else {
                $item.bios_guid = Text $bios[$key].BIOSGUID
                $item.serial = Text $bios[$key].BIOSSerialNumber
            }
            try {
                $nics = @()
                foreach ($nic in @($vm.NetworkAdapters | Where-Object { $_ })) {
                    $vlan = $nic.VlanSetting
                    $nics += @{
                        name = Text $nic.Name; mac = Text $nic.MacAddress; 'switch' = Text $nic.SwitchName
                        vlan = if ($vlan -and [int]$vlan.OperationMode -eq 1) { Whole $vlan.AccessVlanId } else { $null }
                        ips = @($nic.IPAddresses | Where-Object { $_ } | ForEach-Object { [string]$_ })
                    }
                }
                $item.nics = @($nics)
            } catch { $null = $wrong.Add((Trouble 'nics' $_)) }
            try {
                $disks = @()
                foreach ($drive in @($vm.HardDrives | Where-Object { $_ })) {
                    $path = Text $drive.Path
                    $disk = @{
                        path = $path; size = $null; type = $null; error = $null; number = Whole $drive.DiskNumber
                        shared = Flag $drive.SupportPersistentReservations
                    }
                    if ($path -and $null -eq $disk.number) {
                        # the same file stands on several machines, and again below their checkpoints
                        if (-not $told.ContainsKey($path)) {
                            try {
                                $vhd = Hyper-V\Get-VHD -Path $path
                                $told[$path] = @{ size = Whole $vhd.Size; type = [int]$vhd.VhdType; error = $null }
                            } catch { $told[$path] = @{ size = $null; type = $null; error = Trouble 'vhd' $_ } }
                        }
                        $disk.size = $told[$path].size
                        $disk.type = $told[$path].type
                        $disk.error = $told[$path].error
                    }
                    $disks += $disk
                }
                $item.disks = @($disks)
            } catch { $null = $wrong.Add((Trouble 'disks' $_)) }
            if ($wmi.guest) { $null = $wrong.Add($wmi.guest) } else {
                try {
                    $guest = @{}
                    foreach ($entry in @($kvp[$key].GuestIntrinsicExchangeItems | Where-Object { $_ })) {
                        $pair = [xml]$entry
                        $name = $pair.SelectSingleNode("/INSTANCE/PROPERTY[@NAME='Name']/VALUE").InnerText
                        if ($wanted -contains $name) {
                            $guest[$name] = $pair.SelectSingleNode("/INSTANCE/PROPERTY[@NAME='Data']/VALUE").InnerText
                        }
                    }
                    $item.guest = @{
                        fqdn = $guest.FullyQualifiedDomainName; os_name = $guest.OSName; os_version = $guest.OSVersion
                        os_major = $guest.OSMajorVersion; os_build = $guest.OSBuildNumber; os_platform = $guest.OSPlatformId
                    }
                } catch { $null = $wrong.Add((Trouble 'guest' $_)) }
            }
            $item.errors = @($wrong)
        }
    } catch {
        $vms = $null
        $null = $errors.Add((Trouble 'vms' $_))
    }
    if ($null -ne $vms) {
        $out.items = @($items)
        $out['count'] = $vms.Count
        $out.ok = $true
    }
    # the second path: the host's own row has its name, every machine's a GUID
    try {
        $rows = @(Get-WmiObject -Namespace $v2 -Query 'SELECT Name FROM Msvm_ComputerSystem')
        $second.ids = @($rows | ForEach-Object { Id $_.Name } | Where-Object { $_ -match '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' })
    } catch { $second.error = Trouble 'second' $_ }
}

# the feature alone leaves the service disabled; on a node it starts by itself
try {
    if ((Test-Path -Path "$services\ClusSvc") -and (Get-ItemProperty -Path "$services\ClusSvc").Start -ne 4) {
        $group = @{ name = $null; id = $null; nodes = $null; vms = $null; error = $null }
        $out.cluster = $group
        if (-not (Get-Module -ListAvailable -Name FailoverClusters -ErrorAction SilentlyContinue)) {
            $group.error = Missing 'cluster_module' 'this node has no FailoverClusters module for PowerShell'
        } else {
            $all = FailoverClusters\Get-Cluster
            $group.name = Text $all.Name
            $group.id = Text $all.Id
            if ('whole', 'lists' -contains $ask) {
                $group.nodes = @(FailoverClusters\Get-ClusterNode | ForEach-Object {
                    @{ name = [string]$_.Name; state = [int]$_.State }
                })
                $roles = @(FailoverClusters\Get-ClusterResource | Where-Object { [string]$_.ResourceType -eq 'Virtual Machine' })
                $found = @($roles | FailoverClusters\Get-ClusterParameter -Name VmID | ForEach-Object {
                    $role = $_.ClusterObject
                    @{
                        vm_id = Id $_.Value; name = [string]$role.OwnerGroup; owner = [string]$role.OwnerNode
                        state = [int]$role.State
                    }
                })
                if ($found.Count -ne $roles.Count) { throw 'not every virtual machine of the cluster tells its id' }
                $group.vms = @($found)
            }
        }
    }
} catch {
    if ($out.cluster) { $out.cluster.error = Trouble 'cluster' $_ } else { $null = $errors.Add((Trouble 'cluster' $_)) }
}

$out.errors = @($errors)
$json = ConvertTo-Json -Compress -Depth 10 -InputObject $out
[Console]::Out.WriteLine($nonce + ':' + [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($json)) + ':' + $nonce)
