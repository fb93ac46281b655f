package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// hubField is the field of a DeviceTwin that the API server selects by.
const hubField = "spec.hubRef.name"

// Selection says which DeviceTwins a command is about.
type Selection struct {
	Names []string
	// Sets are the names that were given as set/NAME, for commands that take those WithSets.
	Sets          []string
	WithSets      bool
	Labels        string
	Fields        string
	Hub           string
	AllNamespaces bool
	// All of the namespace: for commands that change objects, which take nothing for granted.
	All bool
}

// AddFlags adds the flags of a selection.
func (s *Selection) AddFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&s.Labels, "selector", "l", "", "the DeviceTwins with these labels, such as plant=redmond,line!=7")
	flags.StringVar(&s.Fields, "field-selector", "", "the DeviceTwins with these fields: spec.deviceId, spec.hubRef.name, metadata.name")
	flags.StringVar(&s.Hub, "hub", "", "the DeviceTwins of a HubConnection: its name, or NAMESPACE/NAME; of this namespace, or with -A of all")
	flags.BoolVarP(&s.AllNamespaces, "all-namespaces", "A", false, "in all namespaces")
}

// AddAllFlag adds the flag that a command needs before it changes all DeviceTwins.
func (s *Selection) AddAllFlag(flags *pflag.FlagSet) {
	flags.BoolVar(&s.All, "all", false, "all DeviceTwins of the namespace, or with -A of the cluster")
}

// Check refuses what contradicts itself. explicit tells that the user has to choose.
func (s *Selection) Check(explicit bool) error {
	chosen := s.Labels != "" || s.Fields != "" || s.Hub != ""
	switch {
	case len(s.Names) > 0 && (chosen || s.All || s.AllNamespaces):
		return errors.New("name DeviceTwins, or select them with -l, --field-selector, --hub, --all and -A; not both")
	case explicit && len(s.Names) == 0 && !chosen && !s.All:
		return errors.New("which DeviceTwins? name them, or select them with -l, --field-selector, --hub or --all")
	}
	return s.sort()
}

// sort tells the names of DeviceTwins from those of DeviceTwinSets.
func (s *Selection) sort() error {
	given := s.Names
	s.Names, s.Sets = nil, nil
	for _, text := range given {
		if name, ok := SetKind.Named(text); ok && s.WithSets {
			s.Sets = append(s.Sets, name)
			continue
		}
		name, ok := TwinKind.Named(text)
		switch {
		case ok:
			s.Names = append(s.Names, name)
		case !strings.Contains(text, "/"):
			s.Names = append(s.Names, text)
		case s.WithSets:
			return fmt.Errorf("%q: should be the name of a DeviceTwin, devicetwin/NAME, or set/NAME", text)
		default:
			return fmt.Errorf("%q: should be the name of a DeviceTwin, or devicetwin/NAME", text)
		}
	}
	return nil
}

// hub is the HubConnection's namespace and name.
func (s *Selection) hub(namespace string) (string, string) {
	if in, name, qualified := strings.Cut(s.Hub, "/"); qualified {
		return in, name
	}
	return namespace, s.Hub
}

// Options are what to list; namespace is the one in effect.
func (s *Selection) Options(namespace string) ([]client.ListOption, error) {
	var options []client.ListOption
	if !s.AllNamespaces {
		options = append(options, client.InNamespace(namespace))
	}
	selector, err := labels.Parse(s.Labels)
	if err != nil {
		return nil, fmt.Errorf("--selector: %w", err)
	}
	field, err := fields.ParseSelector(s.Fields)
	if err != nil {
		return nil, fmt.Errorf("--field-selector: %w", err)
	}
	if s.Hub != "" {
		_, name := s.hub(namespace)
		field = fields.AndSelectors(field, fields.OneTermEqualSelector(hubField, name))
	}
	return append(options, client.MatchingLabelsSelector{Selector: selector}, client.MatchingFieldsSelector{Selector: field}), nil
}

// Matches tells whether a DeviceTwin that was listed is one of the hub's: the API server does not select by its namespace.
func (s *Selection) Matches(obj *v1alpha1.DeviceTwin, namespace string) bool {
	if s.Hub == "" {
		return true
	}
	in, name := s.hub(namespace)
	return obj.Spec.HubRef.Name == name && obj.Spec.HubRef.NamespaceOr(obj.Namespace) == in
}

// Each calls a function for each DeviceTwin, and returns how many there were. One that is named and is not there is an
// error for missing, which decides what becomes of it.
func (s *Selection) Each(ctx context.Context, c client.Reader, namespace string, do func(*v1alpha1.DeviceTwin) error, missing func(name string, err error) error) (int, error) {
	if len(s.Names)+len(s.Sets) > 0 {
		return len(s.Names), s.eachNamed(ctx, c, namespace, do, missing)
	}
	options, err := s.Options(namespace)
	if err != nil {
		return 0, err
	}
	count := 0
	err = EachTwin(ctx, c, func(obj *v1alpha1.DeviceTwin) error {
		if !s.Matches(obj, namespace) {
			return nil
		}
		count++
		return do(obj)
	}, options...)
	return count, err
}

func (s *Selection) eachNamed(ctx context.Context, c client.Reader, namespace string, do func(*v1alpha1.DeviceTwin) error, missing func(string, error) error) error {
	for _, name := range s.Names {
		obj := &v1alpha1.DeviceTwin{}
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)
		if err != nil {
			err = missing(name, Explained(err))
		} else {
			err = do(obj)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// None says that nothing was selected.
func (s *Selection) None(namespace string) string {
	where := "in namespace " + namespace
	if s.AllNamespaces {
		where = "in any namespace"
	}
	if s.Labels != "" || s.Fields != "" || s.Hub != "" {
		return "no DeviceTwin " + where + " is selected"
	}
	return "there is no DeviceTwin " + where
}
