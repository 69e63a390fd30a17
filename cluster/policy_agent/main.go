// Command policy_agent enforces NetworkPolicies on a node by one nftables table. Called by a container runtime (with
// CNI_COMMAND in its environment) it is the CNI plugin that makes a pod wait for its rules.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"barberpro.platform/cluster/policy_agent/internal/agent"
	"barberpro.platform/cluster/policy_agent/internal/cni"
	"barberpro.platform/cluster/policy_agent/internal/nft"
)

type options struct {
	kubeconfig, podCIDR, table, nft  string
	healthz, metrics, announceSocket string
}

func parse() options {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (needed)")
	flag.StringVar(&o.podCIDR, "pod-cidr", "", "IPv4 range that all pod addresses come from (needed)")
	flag.StringVar(&o.table, "table", "barberpro-policy", "name of the nftables table of family ip")
	flag.StringVar(&o.nft, "nft", "nft", "nft command")
	flag.StringVar(&o.healthz, "healthz-address", "", "host:port that answers GET /healthz; empty: none")
	flag.StringVar(&o.metrics, "metrics-address", "", "host:port that answers GET /metrics; empty: none")
	flag.StringVar(&o.announceSocket, "announce-socket", "", "unix socket for the CNI plugin; empty: none")
	flag.Parse()
	return o
}

func main() {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(cni.Run(os.Getenv, os.Stdin, os.Stdout))
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parse(), log); err != nil {
		log.Error("the policy agent ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, log *slog.Logger) error {
	if o.kubeconfig == "" || o.podCIDR == "" {
		return errors.New("--kubeconfig and --pod-cidr are needed")
	}
	podCIDR, err := netip.ParsePrefix(o.podCIDR)
	if err != nil || !podCIDR.Addr().Is4() {
		return fmt.Errorf("--pod-cidr %q is not an IPv4 range such as 10.244.0.0/16", o.podCIDR)
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	a, err := agent.New(client, podCIDR.Masked(), &nft.Table{Name: o.table, Command: []string{o.nft}}, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := func(what string, serve func() error) {
		if err := serve(); err != nil {
			cancel(fmt.Errorf("%s: %w", what, err))
		}
	}
	if o.healthz != "" {
		go start("--healthz-address", func() error { return agent.ServeTCP(ctx, o.healthz, "/healthz", a.Health) })
	}
	if o.metrics != "" {
		go start("--metrics-address", func() error { return agent.ServeTCP(ctx, o.metrics, "/metrics", a.Metrics) })
	}
	if o.announceSocket != "" {
		go start("--announce-socket", func() error { return a.ServeSocket(ctx, o.announceSocket) })
	}
	if err := a.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
