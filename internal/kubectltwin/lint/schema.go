package lint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/config/crd"
)

// definition is what the API server does to the objects of one kind and version before it stores them.
type definition struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	cel        *cel.Validator
}

// definitions are those of the custom resource definitions that the program was built with.
func definitions() (map[schema.GroupVersionKind]*definition, error) {
	files, err := fs.Glob(crd.Bases(), "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	out := map[schema.GroupVersionKind]*definition{}
	for _, file := range files {
		text, err := fs.ReadFile(crd.Bases(), file)
		if err != nil {
			return nil, err
		}
		var defined apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &defined); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, version := range defined.Spec.Versions {
			gvk := schema.GroupVersionKind{Group: defined.Spec.Group, Version: version.Name, Kind: defined.Spec.Names.Kind}
			if out[gvk], err = newDefinition(version.Schema); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return out, nil
}

func newDefinition(versioned *apiextensionsv1.CustomResourceValidation) (*definition, error) {
	var internal apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(versioned, &internal, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &definition{structural: structural, validator: validator, cel: cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

// prepare drops what the schema does not know, and returns its paths; then it sets defaults, as the API server does.
func (d *definition) prepare(object map[string]any) (unknown []string, err error) {
	unknown = pruning.PruneWithOptions(object, d.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.PruneNonNullableNullsWithoutDefaults(object, d.structural)
	meta, found, unknownMeta, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return unknown, err
	}
	if found {
		if err := objectmeta.SetObjectMeta(object, meta); err != nil {
			return unknown, err
		}
	}
	delete(object, "status") // which a create does not take
	defaulting.Default(object, d.structural)
	delete(object, "status")
	return append(unknown, unknownMeta...), nil
}

// validate holds a prepared object against the rules for metadata, the schema and its CEL rules.
func (d *definition) validate(ctx context.Context, obj *unstructured.Unstructured) field.ErrorList {
	if obj.GetNamespace() == "" {
		obj.SetNamespace(metav1.NamespaceDefault)
	}
	errs := apivalidation.ValidateObjectMetaAccessor(obj, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, obj.Object, d.validator)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, d.structural, obj.Object)...)
	if len(errs) > 0 || d.cel == nil { // a rule may rely on the types
		return errs
	}
	errs, _ = d.cel.Validate(ctx, nil, d.structural, obj.Object, nil, celconfig.RuntimeCELCostBudget)
	return errs
}

// versions are those that are known of a group's kind.
func versions(known map[schema.GroupVersionKind]*definition, kind schema.GroupKind) ([]string, error) {
	var out []string
	for gvk := range maps.Keys(known) {
		if gvk.GroupKind() == kind {
			out = append(out, gvk.GroupVersion().String())
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no such kind")
	}
	slices.Sort(out)
	return out, nil
}
