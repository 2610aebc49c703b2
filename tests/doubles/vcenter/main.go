// The vCenter simulator as a command, made of what Debian's golang-github-vmware-govmomi-dev brings (the library without
// the command). vcsim.py builds and starts it. It prints "READY <port>" once it listens, and ends when its standard
// input does, so that it never outlives the process that started it.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	log.SetOutput(os.Stderr)
	vpx := simulator.VPX()
	esx := simulator.ESX()
	standalone := flag.Bool("esx", false, "one ESXi host in place of a vCenter")
	datacenters := flag.Int("datacenters", vpx.Datacenter, "")
	clusters := flag.Int("clusters", vpx.Cluster, "per datacenter")
	hosts := flag.Int("hosts", vpx.ClusterHost, "per cluster")
	lone := flag.Int("lone-hosts", vpx.Host, "hosts outside of clusters, per datacenter")
	machines := flag.Int("vms", vpx.Machine, "per resource pool of a cluster or lone host")
	pools := flag.Int("pools", vpx.Pool, "per cluster")
	apps := flag.Int("vapps", vpx.App, "per cluster")
	folders := flag.Int("folders", vpx.Folder, "")
	datastores := flag.Int("datastores", vpx.Datastore, "per datacenter")
	powered := flag.Bool("powered", true, "machines are switched on")
	user := flag.String("username", "", "")
	certificate := flag.String("certificate", "", "PEM file with key and certificate; without it plain HTTP")
	flag.Parse()

	model := vpx
	if *standalone {
		model = esx
	} else {
		model.Datacenter, model.Cluster, model.ClusterHost, model.Host = *datacenters, *clusters, *hosts, *lone
		model.Pool, model.App, model.Folder = *pools, *apps, *folders
	}
	model.Machine, model.Datastore, model.Autostart = *machines, *datastores, *powered
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()

	service := model.Service
	service.Listen = &url.URL{Host: "127.0.0.1:0"}
	if *user != "" {
		// the password comes by the environment: arguments are everybody's to read
		service.Listen.User = url.UserPassword(*user, os.Getenv("VCSIM_PASSWORD"))
	}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *certificate)
		if err != nil {
			log.Fatal(err)
		}
		service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	server := service.NewServer()
	defer server.Close()
	fmt.Printf("READY %s\n", server.URL.Port())
	io.Copy(io.Discard, os.Stdin)
}
