package cni

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"barberpro.platform/cluster/policy_agent/internal/agent"
)

const arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1;K8S_POD_INFRA_CONTAINER_ID=c"

func call(command, configuration string) (int, string) {
	var output bytes.Buffer
	environment := map[string]string{"CNI_COMMAND": command, "CNI_ARGS": arguments}
	code := Run(func(name string) string { return environment[name] }, strings.NewReader(configuration), &output)
	return code, strings.TrimSpace(output.String())
}

// serve answers announcements on a socket as a test wants.
func serve(t *testing.T, status int, text string) (socket string, got *agent.Announcement) {
	socket, got = filepath.Join(t.TempDir(), "s"), &agent.Announcement{}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket, got
}

const previous = `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.244.0.5/32"}]}`

func TestAPodIsAnnouncedAndTheResultPassedOn(t *testing.T) {
	socket, got := serve(t, http.StatusNoContent, "")
	code, output := call("ADD", `{"cniVersion":"0.4.0","socket":"`+socket+`","prevResult":`+previous+`}`)
	if code != 0 || output != previous {
		t.Fatalf("exit code %d, output %s", code, output)
	}
	if got.Namespace != "shop" || got.Name != "web-0" || got.UID != "u1" || got.Address.String() != "10.244.0.5" {
		t.Fatalf("announced was %+v", got)
	}
}

func TestWhatTheRuntimeShowsWhenAPodCannotStart(t *testing.T) {
	socket, _ := serve(t, http.StatusServiceUnavailable, "pod shop/web-0: the rules of the pod are not in force yet")
	for name, test := range map[string]struct{ configuration, message string }{
		"the agent refuses":    {`{"socket":"` + socket + `","prevResult":` + previous + `}`, "policy agent: pod shop/web-0: the rules of the pod are not in force yet"},
		"no agent":             {`{"socket":"/does/not/exist","prevResult":` + previous + `}`, "the policy agent does not answer, so no pod can start: "},
		"no socket":            {`{"prevResult":` + previous + `}`, "the plugin's configuration names no socket of the policy agent"},
		"first of the chain":   {`{"socket":"` + socket + `"}`, "the plugin must follow one that gives addresses: "},
		"an IPv6 address only": {`{"socket":"` + socket + `","prevResult":{"ips":[{"address":"fd00::1/64"}]}}`, "the plugins before gave the pod no IPv4 address"},
		"not JSON":             {`nonsense`, "the configuration is not JSON: "},
	} {
		code, output := call("ADD", test.configuration)
		var answer struct {
			Code int
			Msg  string
		}
		if err := json.Unmarshal([]byte(output), &answer); err != nil || code != 1 || answer.Code < 100 || !strings.HasPrefix(answer.Msg, test.message) {
			t.Errorf("%s: exit code %d, output %s", name, code, output)
		}
	}
}

func TestOtherCommandsChangeNothing(t *testing.T) {
	for _, command := range []string{"DEL", "CHECK", "GC", "STATUS"} {
		if code, output := call(command, `{"cniVersion":"0.4.0","socket":"/does/not/exist"}`); code != 0 || output != "" {
			t.Errorf("%s: exit code %d, output %s", command, code, output)
		}
	}
	if code, output := call("VERSION", ""); code != 0 || !strings.Contains(output, `"supportedVersions":["0.3.0"`) {
		t.Errorf("exit code %d, output %s", code, output)
	}
}
