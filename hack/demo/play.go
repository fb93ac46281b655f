package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// hubScript calls the hub's REST API with curl; the token is in a file of its
// own, so that it shows neither in the terminal nor in the process list.
const hubScript = `#!/bin/sh
# Calls the local hub's REST API: hub METHOD PATH [BODY]
exec curl --silent --show-error --cacert '%[1]s' --config '%[2]s' \
  --request "$1" --url "https://%[3]s$2?api-version=%[4]s" ${3:+--data "$3"} --write-out '\n'
`

// tokenLife is how long the script works.
const tokenLife = 24 * time.Hour

// writeHubScript makes it easy to change a twin behind the operator's back.
func (s *story) writeHubScript() (string, error) {
	config := s.dirs.in("hub-headers")
	headers := fmt.Sprintf("header = \"Authorization: %s\"\nheader = \"Content-Type: application/json\"\n",
		s.hub.credentials.Token(time.Now().Add(tokenLife)))
	if err := os.WriteFile(config, []byte(headers), 0o600); err != nil {
		return "", err
	}
	path := s.dirs.in("hub")
	script := fmt.Sprintf(hubScript, s.emulator.CAFile(), config, s.hub.credentials.Host, apiVersion)
	return path, os.WriteFile(path, []byte(script), 0o700)
}

// playOn says what can be done with the parts, which stay up.
func (s *story) playOn() error {
	script, err := s.writeHubScript()
	if err != nil {
		return err
	}
	s.out.line(`
Everything stays up. In another terminal:

  export KUBECONFIG=%[1]s
  export PATH=%[2]s:$PATH

  kubectl get iothub                     # everything there is
  kubectl get twin %[6]s -o yaml  # what is declared, and what the hub says
  kubectl edit twin %[6]s         # the device prints what you desire of it
  kubectl get twin -w                    # see the device's report arrive

Edit your copy of the manifests in %[3]s/%[7]s and apply it:

  kubectl apply -k %[3]s

Change the twin behind the operator's back, and see it restored:

  %[4]s PATCH /twins/%[6]s '{"tags": {"location": {"plant": "Elsewhere"}}}'
  %[4]s GET /twins/%[6]s

See what the device, the manager and the others print:

  tail -f %[5]s/*.log

Ctrl-C stops everything.`,
		s.kubectl.Kubeconfig, filepath.Dir(s.kubectl.Path), s.manifests.dir, script, s.dirs.logs,
		deviceID, tutorialFolder)
	return nil
}
